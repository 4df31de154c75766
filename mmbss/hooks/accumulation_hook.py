"""Gradients that are still being accumulated, kept for a resume."""

from typing import Any

import torch
from mmengine.dist import get_world_size
from mmengine.hooks import Hook
from mmengine.runner import Runner

from mmbss.registry import HOOKS


@HOOKS.register_module()
class AccumulationHook(Hook):
    """Stores half accumulated gradients in the checkpoint.

    Where ``accumulative_counts`` does not divide the iterations of an epoch, the gradients of the
    last iterations wait for those of the next epoch; mmengine drops them at a resume. They are
    stored beside the student's ``state_dict`` as ``accumulated_gradients``, and only then.
    """

    def __init__(self) -> None:
        self.stored: dict[str, torch.Tensor] = {}

    def before_train(self, runner: Runner) -> None:
        """Put the stored gradients back."""
        for name, gradient in self.stored.items():
            parameter = runner.model.get_parameter(name)
            parameter.grad = gradient.to(parameter)
        if get_world_size() > 1 and runner.optim_wrapper._accumulative_counts > 1:
            runner.logger.warning(
                'several processes accumulate gradients, of which a checkpoint holds those of the '
                'first alone: resume is exact only if accumulative_counts divides the iterations '
                'between two checkpoints'
            )

    def before_save_checkpoint(self, runner: Runner, checkpoint: dict[str, Any]) -> None:
        """Store the gradients if there are any."""
        gradients = {
            name: parameter.grad.detach().cpu().clone()
            for name, parameter in runner.model.named_parameters()
            if parameter.grad is not None
        }
        if gradients and not runner.optim_wrapper.should_update():
            checkpoint['accumulated_gradients'] = gradients

    def after_load_checkpoint(self, runner: Runner, checkpoint: dict[str, Any]) -> None:
        """Remember the gradients of a checkpoint that is resumed."""
        if runner._resume:
            self.stored = checkpoint.get('accumulated_gradients', {})
