"""What the benchmarks share: distillers built from a config, and batches of its data."""

import itertools
from collections.abc import Iterator
from typing import Any

import torch
from mmengine.config import Config
from mmengine.optim import OptimWrapper
from mmengine.registry import DefaultScope
from torch import nn

import mmbss  # noqa: F401
from mmbss.registry import DATASETS, MODELS


def batches(cfg: Config, size: int) -> Iterator[dict[str, Any]]:
    """Endless batches of the training set, as its data loader gives them."""
    dataset = DATASETS.build(cfg.train_dataloader.dataset)
    for start in itertools.cycle(range(0, len(dataset) - size, size)):
        samples = [dataset[index] for index in range(start, start + size)]
        yield dict(
            inputs=torch.stack([sample['inputs'] for sample in samples]),
            data_samples=[sample['data_samples'] for sample in samples],
        )


def build(cfg: Config, acceleration: dict[str, dict[str, Any]] | None = None) -> nn.Module:
    """The distiller of the config.

    Args:
        cfg: The config.
        acceleration: That of the ``'student'`` and of the ``'teacher'``, instead of the config's.
    """
    model = load_distiller(cfg)
    if acceleration is not None:
        model['acceleration'] = acceleration.get('student', {})
        model['teacher']['acceleration'] = acceleration.get('teacher', {})
    with DefaultScope.overwrite_default_scope('mmpretrain'):
        return MODELS.build(model).train()


def load_distiller(cfg: Config) -> dict[str, Any]:
    """Model config of the distiller with its data preprocessor."""
    return dict(cfg.model.to_dict(), data_preprocessor=cfg.data_preprocessor.to_dict())


def set_weights(model: nn.Module, alpha: float, beta: float) -> None:
    """Fix the loss weights."""
    model.loss_modules['loss_kd'].loss_weight = alpha
    model.loss_modules['loss_bss'].loss_weight = beta


def warmed_up(cfg: Config, stream: Iterator[dict[str, Any]], steps: int) -> dict[str, Any]:
    """Weights of a student after some steps of KD."""
    model = build(cfg)
    model.init_weights()
    set_weights(model, 4.0, 0.0)
    wrapper = OptimWrapper(torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9))
    for _ in range(steps):
        model.train_step(next(stream), wrapper)
    return {key: value.clone() for key, value in model.state_dict().items()}


def synchronise() -> None:
    """Wait for the GPU, if there is one."""
    if torch.cuda.is_available():
        torch.cuda.synchronize()
