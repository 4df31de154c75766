"""A bound on the weights that run into each unit (Hinton et al. 2012, arXiv 1207.0580)."""

from typing import Any

import torch
from mmengine.hooks import Hook
from mmengine.runner import Runner
from torch import Tensor, nn

from mmbss.engine.errors import ConfigError
from mmbss.engine.models import unwrap
from mmbss.engine.ranges import check_positive
from mmbss.registry import HOOKS

#: Layers whose weight has one row, or one filter, for each unit.
LAYERS = (nn.Linear, nn.Conv1d, nn.Conv2d, nn.Conv3d)


@torch.no_grad()
def clip_norms(weight: Tensor, max_norm: float) -> None:
    """Shrink, in place, every row whose L2 norm is above ``max_norm`` to that norm.

    Args:
        weight: (units, ...), one row, or filter, of incoming weights for each unit.
        max_norm: Largest norm of a row; a row within it stays exactly as it is.
    """
    weight.renorm_(2, 0, max_norm)


@HOOKS.register_module()
class MaxNormHook(Hook):
    """Keeps the L2 norm of each unit's incoming weights within a bound, after every update.

    With dropout it allows a high learning rate at first. It holds for every fully connected and
    convolutional layer of the model, or of a distiller's student, that learns; biases are free.

    Args:
        max_norm: The bound, positive. Hinton et al. bound the squared norm by 15, so 3.87.

    Raises:
        ConfigError: If the bound is not positive, and before training if the model has no such
            layer, or one whose weight is computed from others.
    """

    priority = 'VERY_HIGH'  # before a moving average of the weights is taken

    def __init__(self, max_norm: float = 15**0.5) -> None:
        check_positive(self, max_norm=max_norm)
        self.max_norm = max_norm
        self.weights: list[Tensor] = []

    def before_train(self, runner: Runner) -> None:
        """Find the layers."""
        model = unwrap(runner.model)
        terms = getattr(model, 'terms', nn.Module())
        of_terms = {*terms.modules()}  # no part of the student
        modules = [module for module in model.modules() if module not in of_terms]
        layers = [module for module in modules if isinstance(module, LAYERS)]
        if not layers:
            raise ConfigError(
                'MaxNormHook: the model has no fully connected or convolutional layer'
            )
        if not all(isinstance(layer.weight, nn.Parameter) for layer in layers):
            raise ConfigError(
                'MaxNormHook: a layer computes its weight from others (weight_norm, for instance), '
                'which the hook cannot bound: leave out one of the two'
            )
        self.weights = [layer.weight for layer in layers if layer.weight.requires_grad]

    def after_train_iter(
        self, runner: Runner, batch_idx: int, data_batch: Any = None, outputs: Any = None
    ) -> None:
        """Shrink what has grown beyond the bound."""
        for weight in self.weights:
            clip_norms(weight, self.max_norm)
