"""No update that is NaN or infinite, and nothing that is made of one."""

from typing import Any, NoReturn

import torch
from mmengine.dist import all_reduce
from mmengine.hooks import Hook
from mmengine.optim import OptimWrapper
from mmengine.runner import Runner
from torch import Tensor

from mmbss.engine.errors import ConfigError
from mmbss.engine.finite import dense, non_finite
from mmbss.engine.models import unwrap
from mmbss.registry import HOOKS

#: A search for a loss scale begins at 65536, and each step with an infinite gradient halves it.
SMALLEST_SCALE = 2.0**-24


class NonFiniteError(ConfigError):
    """A training that cannot go on."""


@HOOKS.register_module()
class FiniteLossHook(Hook):
    """Stops a run when a loss or gradient of any process is NaN or infinite.

    The loss is looked at before it is differentiated, and the gradient before it is used, so the
    weights are those of the last good update. Weights that a step itself has made so, such as that
    of a huge learning rate, end the run before they are validated. Where a loss scale is used, the
    gradients are left to it, since its search for a scale makes them infinite; a scale that has
    found none ends the run as well.

    Raises:
        NonFiniteError: While training, with the iteration, the parts of the loss and the last
            checkpoint.
    """

    def __init__(self) -> None:
        self.parts: dict[str, Tensor] = {}

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
                self._stop(runner, 'the loss')
            update_params(loss, *args, **kwargs)

        def keep_if_finite(loss: Tensor, **kwargs: Any) -> None:
            backward(loss, **kwargs)
            has_scale = hasattr(optim_wrapper, 'loss_scaler')
            if not has_scale and of_any_process(~gradients_are_finite(optim_wrapper)):
                gradients = {name: value.grad for name, value in model.named_parameters()}
                first = next(iter(non_finite(gradients)), 'another process')
                self._stop(runner, f'the gradient of {first}')

        # attributes of the objects, which hide the methods of their classes
        model.parse_losses = remember_parts
        optim_wrapper.update_params = update_if_finite
        optim_wrapper.backward = keep_if_finite

    def after_train_epoch(self, runner: Runner) -> None:
        """See whether the weights may be stored, validated, or end the run."""
        scaler = getattr(runner.optim_wrapper, 'loss_scaler', None)
        if scaler is not None and (scale := scaler.get_scale()) < SMALLEST_SCALE:
            saved = last_checkpoint(runner.message_hub.runtime_info.get('last_ckpt'))
            raise NonFiniteError(
                f'no loss scale keeps the gradients finite: it has come down to '
                f'{scale:.3g} by iteration {runner.iter} (epoch {runner.epoch}), and '
                f'no weight moves; {saved}. Train without --amp to see which gradient it is'
            )
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

    def _stop(self, runner: Runner, what: str) -> NoReturn:
        """End the run."""
        parts = ', '.join(
            f'{name} {value.detach().item():.4g}' for name, value in self.parts.items()
        )
        saved = last_checkpoint(runner.message_hub.runtime_info.get('last_ckpt'))
        raise NonFiniteError(
            f'{what} is not finite in iteration {runner.iter + 1} (epoch {runner.epoch + 1}): '
            f'{parts}; {saved}. Lower the learning rate or the loss weights, or clip the gradients'
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
    parameters = [each for group in optim_wrapper.param_groups for each in group['params']]
    given = [dense(parameter.grad) for parameter in parameters if parameter.grad is not None]
    # nothing is the largest of none
    given = [values for values in given if values.numel()]
    # a CPU takes 19 times as long for the largest of them as for their squares, which may overflow
    finite = torch.nn.utils.get_total_norm(given).isfinite()
    return finite if finite else torch.nn.utils.get_total_norm(given, torch.inf).isfinite()
