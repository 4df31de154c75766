"""What of the log of a training is shown on the screen; its file has all of it."""

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from unittest import mock

from mmengine.logging import MMLogger

#: How messages of mmengine begin that say nothing of the training itself.
FOR_THE_FILE = (
    *('\n' + 60 * '-' + '\nSystem environment', 'Config:\n', 'Hooks will be executed'),
    *('Distributed training is not used', 'paramwise_options -- ', 'Exp name: '),
    *('Checkpoints will be saved to', '"FileClient" will be', '"HardDiskBackend" is the alias'),
)


@contextmanager
def short_screen() -> Iterator[None]:
    """Leave environment, config, hooks and repeated names to the log file."""

    def call_handlers(logger: MMLogger, record: logging.LogRecord) -> None:
        is_for_the_file = str(record.msg).startswith(FOR_THE_FILE)
        for handler in logger.handlers:
            is_shown = isinstance(handler, logging.FileHandler) or not is_for_the_file
            if is_shown and record.levelno >= handler.level:
                handler.handle(record)

    with mock.patch.object(MMLogger, 'callHandlers', call_handlers):
        yield
