"""What a step leaves behind, gradients and running statistics, kept whole for a resume."""

import logging
from typing import Any

import torch
from mmengine.dist import all_reduce, get_world_size
from mmengine.hooks import CheckpointHook, Hook
from mmengine.runner import Runner
from torch import nn

from mmbss.engine.hooks.shared_buffers import share_buffers
from mmbss.engine.models import unwrap
from mmbss.registry import HOOKS


@HOOKS.register_module()
class AccumulationHook(Hook):
    """Stores half accumulated gradients in the checkpoint.

    Where ``accumulative_counts`` does not divide the iterations of an epoch, the gradients of the
    last iterations wait for those of the next epoch; mmengine drops them at a resume. They are
    stored beside the student's ``state_dict`` as ``accumulated_gradients``, and only then.

    Several processes take the mean of theirs beforehand, which the update would have taken in the
    end, so that those of the first process are those of all; and so they do with the running
    statistics of BatchNorm, see :func:`~mmbss.engine.hooks.shared_buffers.share_buffers`.
    """

    def __init__(self) -> None:
        self.stored: dict[str, torch.Tensor] = {}

    def before_train(self, runner: Runner) -> None:
        """Put the stored gradients back."""
        runner.logger.removeFilter(are_not_lost)
        for name, gradient in self.stored.items():
            parameter = unwrap(runner.model).get_parameter(name)
            parameter.grad = gradient.to(parameter)

    def after_train_iter(
        self, runner: Runner, batch_idx: int, data_batch: Any = None, outputs: Any = None
    ) -> None:
        """Share what there is where a checkpoint is about to be written within an epoch."""
        if any(_saves_now(hook, runner) for hook in runner.hooks):
            self.after_train_epoch(runner)

    def after_train_epoch(self, runner: Runner) -> None:
        """Share gradients and statistics."""
        share_buffers(unwrap(runner.model), runner.hooks)
        if get_world_size() > 1 and not runner.optim_wrapper.should_update():
            share_gradients(unwrap(runner.model))

    def before_val_epoch(self, runner: Runner) -> None:
        """Share statistics, which the best checkpoint is written with."""
        share_buffers(unwrap(runner.model), runner.hooks)

    def before_save_checkpoint(self, runner: Runner, checkpoint: dict[str, Any]) -> None:
        """Store the gradients if there are any."""
        gradients = {
            name: parameter.grad.detach().cpu().clone()
            for name, parameter in unwrap(runner.model).named_parameters()
            if parameter.grad is not None
        }
        if gradients and not runner.optim_wrapper.should_update():
            checkpoint['accumulated_gradients'] = gradients

    def after_load_checkpoint(self, runner: Runner, checkpoint: dict[str, Any]) -> None:
        """Remember the gradients of a checkpoint that is resumed."""
        if runner._resume:
            self.stored = checkpoint.get('accumulated_gradients', {})
            if self.stored:
                runner.logger.addFilter(are_not_lost)


def are_not_lost(record: logging.LogRecord) -> bool:
    """Leave out what mmengine says of gradients at a resume, which this hook has made untrue."""
    return 'gradient of some iterations is lost' not in record.getMessage()


@torch.no_grad()
def share_gradients(model: nn.Module) -> None:
    """Give every process the mean of the gradients of all."""
    parameters = list(model.parameters())
    # a parameter that one process has not used may have been used by another
    used = parameters[0].new_tensor([parameter.grad is not None for parameter in parameters])
    all_reduce(used, op='max')
    for parameter, is_used in zip(parameters, used.tolist(), strict=True):
        if is_used:
            if parameter.grad is None:
                parameter.grad = torch.zeros_like(parameter)
            all_reduce(parameter.grad, op='mean')


def _saves_now(hook: Hook, runner: Runner) -> bool:
    return (
        isinstance(hook, CheckpointHook)
        and not hook.by_epoch
        and (
            hook.every_n_train_iters(runner, hook.interval, hook.save_begin)
            or (hook.save_last and hook.is_last_train_iter(runner))
        )
    )
