"""No update that is NaN or infinite, and nothing that is made of one."""

from typing import Any

import torch
from mmengine.dist import all_reduce
from mmengine.hooks import Hook
from mmengine.optim import OptimWrapper
from mmengine.runner import Runner
from torch import Tensor

from mmbss.engine.errors import ConfigError
from mmbss.engine.finite import dense, non_finite
from mmbss.engine.models import memory_of_buffers, unwrap
from mmbss.engine.ranges import check_at_least, check_choice
from mmbss.registry import HOOKS


class NonFiniteError(ConfigError):
    """A training that cannot go on."""


@HOOKS.register_module()
class FiniteLossHook(Hook):
    """Stops a run, or skips an update, when a loss or gradient of any process is NaN or infinite.

    The loss is looked at before it is differentiated, and the gradient before it is used, so the
    weights are those of the last good update. Weights that a step itself has made so, such as that
    of a huge learning rate, end the run before they are validated. Where a loss scale is used, the
    gradients are left to it, since its search for a scale makes them infinite.

    Args:
        action: ``'stop'`` (default) ends the run with the iteration, the parts of the loss and
            the last checkpoint; ``'skip'`` logs them and leaves the update out, and with it the
            other gradients that have been accumulated for it. Buffers, such as the statistics of
            BatchNorm, become what they were before the batch.
        patience: With ``'skip'``: end the run after so many updates left out in a row.

    Raises:
        ConfigError: If an argument is out of range.
        NonFiniteError: While training, when the run ends.
    """

    def __init__(self, action: str = 'stop', patience: int = 50) -> None:
        check_choice(self, ('stop', 'skip'), action=action)
        check_at_least(self, 1, patience=patience)
        self.action = action
        self.patience = patience
        self.skipped = 0
        self.parts: dict[str, Tensor] = {}
        self.buffers: list[torch.UntypedStorage] = []

    def before_train(self, runner: Runner) -> None:
        """Stand between the loss, its gradient and the update."""
        model, optim_wrapper = unwrap(runner.model), runner.optim_wrapper
        parse_losses = model.parse_losses
        update_params, backward = optim_wrapper.update_params, optim_wrapper.backward

        def remember_parts(losses: dict[str, Any]) -> tuple[Tensor, dict[str, Tensor]]:
            total, self.parts = parse_losses(losses)
            return total, self.parts

        def update_if_finite(loss: Tensor, *args: Any, **kwargs: Any) -> None:
            if of_any_process(~loss.detach().isfinite()):
                self._refuse(runner, 'the loss')
                count_without_gradient(optim_wrapper)
            else:
                update_params(loss, *args, **kwargs)

        def keep_if_finite(loss: Tensor, **kwargs: Any) -> None:
            backward(loss, **kwargs)
            has_scale = hasattr(optim_wrapper, 'loss_scaler')
            if not has_scale and of_any_process(~gradients_are_finite(optim_wrapper)):
                gradients = {name: value.grad for name, value in model.named_parameters()}
                first = next(iter(non_finite(gradients)), 'another process')
                self._refuse(runner, f'the gradient of {first}')
                optim_wrapper.zero_grad()
            else:
                self.skipped = 0

        # attributes of the objects, which hide the methods of their classes
        model.parse_losses = remember_parts
        optim_wrapper.update_params = update_if_finite
        optim_wrapper.backward = keep_if_finite

    def before_train_iter(self, runner: Runner, batch_idx: int, data_batch: Any = None) -> None:
        """Remember what a batch changes before its loss is known."""
        if self.action == 'skip':
            self.buffers = [memory.clone() for memory in memory_of_buffers(unwrap(runner.model))]

    def after_train_epoch(self, runner: Runner) -> None:
        """See whether the weights may be stored, validated, or end the run."""
        broken = non_finite(dict(unwrap(runner.model).named_parameters()))
        device = next(unwrap(runner.model).parameters()).device
        if of_any_process(torch.tensor(bool(broken), device=device)):
            saved = last_checkpoint(runner.message_hub.runtime_info.get('last_ckpt'))
            first = broken[0] if broken else 'a weight of another process'
            raise NonFiniteError(
                f'{first} is not finite after iteration {runner.iter} (epoch {runner.epoch}), '
                f'whose loss was; {saved}. Lower the learning rate, or clip the gradients'
            )

    before_val = after_train = after_train_epoch

    def _refuse(self, runner: Runner, what: str) -> None:
        """Leave an update out, or end the run."""
        parts = ', '.join(
            f'{name} {value.detach().item():.4g}' for name, value in self.parts.items()
        )
        where = f'iteration {runner.iter + 1} (epoch {runner.epoch + 1})'
        self.skipped += 1
        # an update that was left out cannot mend weights that are not finite
        lost = non_finite(dict(unwrap(runner.model).named_parameters()))
        if self.action == 'skip' and self.skipped < self.patience and not lost:
            now = memory_of_buffers(unwrap(runner.model))
            for memory, before in zip(now, self.buffers, strict=True):
                memory.copy_(before)
            runner.logger.warning(f'update left out, {what} is not finite in {where}: {parts}')
            return
        saved = last_checkpoint(runner.message_hub.runtime_info.get('last_ckpt'))
        again = f' for the {self.skipped}. time in a row' if self.skipped > 1 else ''
        raise NonFiniteError(
            f'{what} is not finite in {where}{again}: {parts}; {saved}. Lower the '
            'learning rate or the loss weights, clip the gradients, or leave such updates out '
            "with default_hooks.finite_loss=dict(type='mmbss.FiniteLossHook', action='skip')"
        )


def last_checkpoint(name: str | None) -> str:
    """What to go on from."""
    return f'the last checkpoint is {name}' if name else 'no checkpoint has been written yet'


def of_any_process(flag: Tensor) -> bool:
    """Whether a boolean tensor of one element is true in any process."""
    result = flag.float()
    all_reduce(result, op='max')
    return bool(result)


def gradients_are_finite(optim_wrapper: OptimWrapper) -> Tensor:
    """A boolean on the device of the gradients."""
    given = [dense(gradient) for gradient in gradients_of(optim_wrapper)]
    # nothing is the largest of none
    given = [values for values in given if values.numel()]
    # a CPU takes 19 times as long for the largest of them as for their squares, which may overflow
    finite = torch.nn.utils.get_total_norm(given).isfinite()
    return finite if finite else torch.nn.utils.get_total_norm(given, torch.inf).isfinite()


def gradients_of(optim_wrapper: OptimWrapper) -> list[Tensor]:
    """Those of all that it optimises, as far as there are any."""
    parameters = [each for group in optim_wrapper.param_groups for each in group['params']]
    return [parameter.grad for parameter in parameters if parameter.grad is not None]


def count_without_gradient(optim_wrapper: OptimWrapper) -> None:
    """Take an iteration for done; what has been accumulated before it is used when it is due."""
    optim_wrapper._inner_count += 1
    if optim_wrapper.should_update() and gradients_of(optim_wrapper):
        optim_wrapper.step()
        optim_wrapper.zero_grad()
