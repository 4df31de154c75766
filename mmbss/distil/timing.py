"""How long trainings will take, from steps that are measured on this machine."""

import math
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from itertools import cycle, islice
from pathlib import Path
from typing import Any, NamedTuple

import torch
from mmengine.optim import build_optim_wrapper
from mmengine.registry import DefaultScope
from mmengine.runner import Runner
from torch import nn
from torch.utils.data import DataLoader

from mmbss.distil.configs import validation_interval
from mmbss.distil.teachers import naming_options
from mmbss.engine.cli.config import load_config
from mmbss.engine.errors import ConfigError, naming, one_line
from mmbss.engine.files.checkpoint_reading import read_checkpoint
from mmbss.engine.models import load_strictly
from mmbss.registry import DATASETS, MODELS
from mmbss.studies.classifiers import build_classifier

#: Steps that are measured, after one that warms up.
STEPS = 2
#: Share of the time of a training step that an image takes in a validation.
FORWARD = 0.4


class Cost(NamedTuple):
    """What a training costs, in seconds.

    Attributes:
        start: Until the first step: imports, building, the trial before a training.
        epoch: Of one epoch.
        validation: Of one validation.
    """

    start: float
    epoch: float
    validation: float

    def of(self, epochs: int) -> float:
        """Seconds of a training.

        Examples:
            >>> Cost(1.0, 0.0, 1.0).of(3), Cost(1.0, 0.0, 1.0).of(47)
            (4.0, 13.0)
        """
        validations = math.ceil(epochs / validation_interval(epochs))
        return self.start + epochs * self.epoch + validations * self.validation


def stand_in_teacher(config: Path, checkpoint: Path) -> None:
    """Write random weights where those will lie that a teacher is yet to learn."""
    checkpoint.parent.mkdir(parents=True)
    torch.save(dict(state_dict=build_classifier(str(config)).state_dict()), checkpoint)


def measure(config: Path, import_seconds: float) -> Cost:
    """Measure a few steps of a training in this process.

    Args:
        config: Its config.
        import_seconds: How long a new process takes to import everything.

    Raises:
        ConfigError: If the config, a file or a network is at fault.
    """
    cfg = load_config(str(config))
    begin = time.perf_counter()
    with named_faults(config), DefaultScope.overwrite_default_scope('mmpretrain'):
        model = MODELS.build(dict(cfg.model, data_preprocessor=cfg.data_preprocessor))
        check_start(model.backbone, cfg.model.backbone)
        model.to('cuda' if torch.cuda.is_available() else 'cpu').train()
        wrapper = build_optim_wrapper(model, cfg.optim_wrapper)
        loader = Runner.build_dataloader(dict(cfg.train_dataloader, num_workers=0), seed=0)
        validated = DATASETS.build(cfg.val_dataloader.dataset)
        built = time.perf_counter() - begin
        seconds = _seconds_of_a_step(model, wrapper, loader)
    per_image = seconds / cfg.train_dataloader.batch_size
    return Cost(
        # the trial before a training builds nothing anew, and takes a few steps; what surrounds
        # the training, the end of the process among it, takes about as long as the imports
        start=2 * import_seconds + built + 4 * seconds,
        epoch=len(loader) * seconds,
        validation=FORWARD * per_image * len(validated),
    )


def check_start(backbone: nn.Module, config: Mapping[str, Any]) -> None:
    """Refuse weights to start from that are not those of a backbone, which would stay random.

    Args:
        backbone: The backbone.
        config: Its config.

    Raises:
        ConfigError: If its file cannot be read, or is of another network.
    """
    start = config.get('init_cfg')
    if not isinstance(start, Mapping) or start.get('prefix') != 'backbone':
        return
    checkpoint, begin = start['checkpoint'], 'backbone.'
    content = read_checkpoint(checkpoint)
    state = content.get('state_dict', content)
    own = {key.removeprefix(begin): state[key] for key in state if key.startswith(begin)}
    load_strictly(backbone, own or state, f'{checkpoint} is not of this backbone')
    if not own:
        raise ConfigError(f"{checkpoint} has no names that begin with '{begin}'")


@contextmanager
def named_faults(config: Path) -> Iterator[None]:
    """Say which config was at fault, also where weights could not be downloaded.

    Raises:
        ConfigError: In place of what libraries raise.
    """
    try:
        with naming_options(), naming(config.name):
            yield
    except ConfigError:
        raise
    except OSError as error:  # of whatever fetches weights
        raise ConfigError(f'{config.name}: {one_line(error)}') from error


def _seconds_of_a_step(model: Any, wrapper: Any, loader: DataLoader) -> float:
    """Mean of a few steps, with the time that their images take."""
    taken = []
    for batch in islice(cycle(loader), STEPS + 1):
        model.train_step(batch, wrapper)
        if torch.cuda.is_available():
            torch.cuda.synchronize()
        taken.append(time.perf_counter())
    return (taken[-1] - taken[0]) / STEPS
