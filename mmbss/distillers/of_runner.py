"""The distiller that a runner trains."""

from mmengine.runner import Runner

from mmbss.distillers.distiller import Distiller
from mmbss.engine.errors import ConfigError
from mmbss.engine.models import unwrap


def distiller_of(runner: Runner, who: str) -> Distiller:
    """The distiller that a runner trains.

    Args:
        runner: A runner.
        who: Who needs it, for the message.

    Raises:
        ConfigError: If its model is none.
    """
    model = unwrap(runner.model)
    if not isinstance(model, Distiller):
        raise ConfigError(
            f'{who} needs a distiller, but the model is a {type(model).__name__}: '
            'use mmbss.Distiller'
        )
    return model
