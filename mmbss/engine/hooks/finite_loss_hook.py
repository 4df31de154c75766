"""No update with a loss that is NaN or infinite."""

from typing import Any

from mmengine.dist import all_reduce
from mmengine.hooks import Hook
from mmengine.optim import OptimWrapper
from mmengine.runner import Runner
from torch import Tensor

from mmbss.engine.errors import ConfigError
from mmbss.engine.models import unwrap
from mmbss.registry import HOOKS


class NonFiniteLossError(ConfigError):
    """A training that cannot go on."""


@HOOKS.register_module()
class FiniteLossHook(Hook):
    """Stops a run, or skips an update, when the loss of any process is NaN or infinite.

    The loss is looked at before it is differentiated, so the weights are those of the last good
    update, and the last checkpoint is good.

    Args:
        action: ``'stop'`` (default) ends the run with the iteration, the parts of the loss and
            the last checkpoint; ``'skip'`` logs them and leaves the update out.
        patience: With ``'skip'``: end the run after so many updates left out in a row.

    Raises:
        ConfigError: If an argument is out of range.
        NonFiniteLossError: While training, when the run ends.
    """

    def __init__(self, action: str = 'stop', patience: int = 50) -> None:
        if action not in ('stop', 'skip'):
            raise ConfigError(f"FiniteLossHook: action must be 'stop' or 'skip', got {action!r}")
        if patience < 1:
            raise ConfigError(f'FiniteLossHook: patience must be at least 1, got {patience}')
        self.action = action
        self.patience = patience
        self.skipped = 0
        self.parts: dict[str, Tensor] = {}

    def before_train(self, runner: Runner) -> None:
        """Stand between the loss and the update."""
        model = unwrap(runner.model)
        parse_losses = model.parse_losses
        update_params = runner.optim_wrapper.update_params

        def remember_parts(losses: dict[str, Any]) -> tuple[Tensor, dict[str, Tensor]]:
            total, self.parts = parse_losses(losses)
            return total, self.parts

        def update_if_finite(loss: Tensor, *args: Any, **kwargs: Any) -> None:
            bad = (~loss.detach().isfinite()).float()
            all_reduce(bad, op='max')
            if not bad:
                self.skipped = 0
                update_params(loss, *args, **kwargs)
                return
            self._refuse(runner)
            count_without_gradient(runner.optim_wrapper)

        # attributes of the objects, which hide the methods of their classes
        model.parse_losses = remember_parts
        runner.optim_wrapper.update_params = update_if_finite

    def _refuse(self, runner: Runner) -> None:
        parts = ', '.join(
            f'{name} {value.detach().item():.4g}' for name, value in self.parts.items()
        )
        where = f'iteration {runner.iter + 1} (epoch {runner.epoch + 1})'
        self.skipped += 1
        if self.action == 'skip' and self.skipped < self.patience:
            runner.logger.warning(f'update left out, the loss is not finite in {where}: {parts}')
            return
        info = runner.message_hub.runtime_info
        saved = (
            f'the last checkpoint is {info["last_ckpt"]}'
            if 'last_ckpt' in info
            else ('no checkpoint has been written yet')
        )
        again = f' for the {self.skipped}. time in a row' if self.skipped > 1 else ''
        raise NonFiniteLossError(
            f'the loss is not finite in {where}{again}: {parts}; {saved}. Lower the learning rate '
            'or the loss weights, clip the gradients, or leave such updates out with '
            "default_hooks.finite_loss=dict(type='mmbss.FiniteLossHook', action='skip')"
        )


def count_without_gradient(optim_wrapper: OptimWrapper) -> None:
    """Take an iteration for done; what has been accumulated before it is used when it is due."""
    optim_wrapper._inner_count += 1
    accumulated = any(
        parameter.grad is not None
        for group in optim_wrapper.param_groups
        for parameter in group['params']
    )
    if optim_wrapper.should_update() and accumulated:
        optim_wrapper.step()
        optim_wrapper.zero_grad()
