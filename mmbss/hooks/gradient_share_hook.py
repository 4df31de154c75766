"""Logs how much of the gradient comes from which loss."""

from typing import Any

from mmengine.hooks import Hook
from mmengine.runner import Runner

from mmbss.distillers.of_runner import distiller_of
from mmbss.engine.models import unwrap
from mmbss.engine.ranges import check_at_least
from mmbss.registry import HOOKS


@HOOKS.register_module()
class GradientShareHook(Hook):
    """Logs the share of each loss in the gradient at the student's logits.

    ``loss_kd`` appears as ``kd_share``, the classification loss as ``cls_share``; they sum to 1.
    The magnitude of a loss is the sum over its samples, clean ones and those at the boundary, of
    the L2 norm of its gradient at their logits. It says nothing of losses on features, which are
    left out, nor of how the gradients of two losses add up or cancel.

    Args:
        interval: Every how many iterations, at least 1; the others cost nothing, and the log
            repeats the last measurement there.

    Raises:
        ConfigError: If the interval is below 1; before training if the model is no distiller.
    """

    def __init__(self, interval: int = 50) -> None:
        check_at_least(self, 1, interval=interval)
        self.interval = interval
        self.says_what_is_left_out = True

    def before_train(self, runner: Runner) -> None:
        """Look whether there is anything to share."""
        distiller_of(runner, 'GradientShareHook')

    def before_train_iter(self, runner: Runner, batch_idx: int, data_batch: Any = None) -> None:
        """Have the shares measured in this iteration, or not."""
        unwrap(runner.model).logs_shares = self.every_n_train_iters(runner, self.interval)

    def after_train_iter(
        self,
        runner: Runner,
        batch_idx: int,
        data_batch: Any = None,
        outputs: dict[str, Any] | None = None,
    ) -> None:
        """Say once which losses have no share."""
        model = unwrap(runner.model)
        if not (model.logs_shares and self.says_what_is_left_out):
            return
        self.says_what_is_left_out = False
        left_out = [name for name in model.terms if f'{name[5:]}_share' not in (outputs or {})]
        if left_out:
            runner.logger.info(
                f'{", ".join(left_out)}: no gradient at the logits, so no share of it is logged'
            )
