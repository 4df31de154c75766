"""Training with weights, gradients and optimizer divided among the processes (FSDP)."""

import time
from typing import Any

import mmengine
import torch
from mmengine._strategy.fsdp import FSDPStrategy
from mmengine.device import get_device
from mmengine.dist import is_distributed, is_main_process
from mmengine.fileio import join_path
from mmengine.hooks import EMAHook
from mmengine.runner import save_checkpoint
from mmengine.runner._flexible_runner import FlexibleRunner
from mmengine.utils import apply_to
from torch import nn
from torch.distributed.fsdp import FullyShardedDataParallel

from mmbss.engine.errors import ConfigError
from mmbss.engine.models import unwrap
from mmbss.registry import RUNNERS


class PlainFSDPStrategy(FSDPStrategy):
    """mmengine's ``FSDPStrategy``, whose state is that of an undivided student; on a CPU too.

    Args:
        model_wrapper: Arguments of mmengine's ``MMFullyShardedDataParallel``.
        **strategy: Arguments of ``FSDPStrategy``.
    """

    def __init__(self, *, model_wrapper: dict[str, Any] | None = None, **strategy: Any) -> None:
        on_cpu = not torch.cuda.is_available()
        wrapper: dict[str, Any] = dict(type='MMFullyShardedDataParallel', **(model_wrapper or {}))
        if on_cpu:  # torch looks for an accelerator unless it is told
            wrapper['device_id'] = 'cpu'
        # torch frees the weights without having copied them where they need not be moved
        config = dict(rank0_only=True, offload_to_cpu=not on_cpu)
        super().__init__(
            model_wrapper=wrapper,
            state_dict_cfg=dict(
                state_dict_type='FULL_STATE_DICT',
                state_dict_config=dict(type='FullStateDictConfig', **config),
                optim_state_dict_config=dict(type='FullOptimStateDictConfig', **config),
            ),
            **strategy,
        )

    def _wrap_model(self, model: nn.Module) -> Any:
        """Divide a student; its teacher, which FSDP does not see, goes whole to the same device."""
        teacher = getattr(model, 'teacher', None)
        if isinstance(teacher, nn.Module):
            teacher.to(get_device())
        return super()._wrap_model(model)

    def optim_state_dict(self) -> dict[str, Any]:
        """The state of the undivided optimizer, and the loss scale, which torch leaves out."""
        state = super().optim_state_dict()
        if (scaler := getattr(self.optim_wrapper, 'loss_scaler', None)) is not None:
            state['loss_scaler'] = scaler.state_dict()
        return state

    def load_optim_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Load the state of an undivided optimizer, and the loss scale.

        mmengine 0.10 passes the arguments in the order of torch 2.0.
        """
        optimizer = self.optim_wrapper.optimizer
        part = FullyShardedDataParallel.optim_state_dict_to_load(self.model, optimizer, state_dict)
        if 'loss_scaler' in state_dict:
            part['loss_scaler'] = state_dict['loss_scaler']
        self.optim_wrapper.load_state_dict(part)


@RUNNERS.register_module()
class FSDPRunner(FlexibleRunner):
    """mmengine's ``FlexibleRunner`` with FSDP, for students that fill a device on their own.

    Each process holds a part of the student's weights, gradients and optimizer. The teacher
    stands outside, whole in every process. Checkpoints are those of any other run: plain
    students, written as the checkpoint hook says, from which every runner can go on. Set
    ``runner_type='mmbss.FSDPRunner'`` and start with several processes.

    Whatever needs the undivided weights says so, and is refused: a hook by an attribute
    ``needs_whole_weights = True``, a distiller by a method ``needs_whole_weights()`` that lists the
    entries of the config in question.

    Args:
        model: As for ``FlexibleRunner``.
        strategy: Arguments of :class:`PlainFSDPStrategy`.
        env_cfg: As for ``FlexibleRunner``, which cannot do without.
        **runner: Arguments of ``FlexibleRunner``.

    Raises:
        ConfigError: If there is one process alone, or something needs the undivided weights.
    """

    model: Any

    def __init__(
        self,
        model: Any,
        *,
        strategy: dict[str, Any] | None = None,
        env_cfg: dict[str, Any] | None = None,
        **runner: Any,
    ) -> None:
        strategy = {'type': PlainFSDPStrategy, **(strategy or {})}
        super().__init__(model, strategy=strategy, env_cfg=env_cfg or {}, **runner)
        if not is_distributed():
            raise ConfigError(
                "runner_type='mmbss.FSDPRunner' divides a model among several processes: start it "
                'with tools/launch.py, or remove runner_type'
            )
        # now, not when the training begins, so that it can be tried before
        self.model = self.strategy.build_model(self.model)
        self._check_divisible(strategy.get('model_wrapper') or {})

    def _check_divisible(self, model_wrapper: dict[str, Any]) -> None:
        settings = self.optim_wrapper if isinstance(self.optim_wrapper, dict) else {}
        whole = []
        if 'max_norm' in (settings.get('clip_grad') or {}):
            whole.append('optim_wrapper.clip_grad.max_norm')
        if settings.get('accumulative_counts', 1) > 1:
            whole.append('optim_wrapper.accumulative_counts')
        for hook in self.hooks:
            if isinstance(hook, EMAHook) or getattr(hook, 'needs_whole_weights', False):
                whole.append(type(hook).__name__)
        student = unwrap(self.model)
        is_distiller = hasattr(student, 'needs_whole_weights')
        if is_distiller:
            whole += student.needs_whole_weights()
        if whole:
            raise ConfigError(
                f'{", ".join(whole)}: each needs the undivided weights or gradients, of which '
                'mmbss.FSDPRunner leaves each process a part: remove it, or remove runner_type'
            )
        if is_distiller and model_wrapper.get('auto_wrap_policy'):
            raise ConfigError(
                'strategy.model_wrapper.auto_wrap_policy: its units wait for those of the other '
                'processes, whose student may have no boundary sample to learn: remove it'
            )

    def save_checkpoint(
        self,
        out_dir: str,
        filename: str,
        file_client_args: dict[str, Any] | None = None,
        save_optimizer: bool = True,
        save_param_scheduler: bool = True,
        meta: dict[str, Any] | None = None,
        by_epoch: bool = True,
        backend_args: dict[str, Any] | None = None,
    ) -> None:
        """Collect the parts of all processes and write them; see mmengine's ``Runner``.

        That of ``FlexibleRunner`` writes in place whatever ``backend_args`` say, and stores an
        epoch too many with what is saved after a validation, so that a resume would skip one.
        """
        meta = {
            **dict(epoch=self.epoch + by_epoch, iter=self.iter + (not by_epoch)),
            **(meta or {}),
        }
        meta.update(
            cfg=self.cfg.pretty_text,
            seed=self.seed,
            experiment_name=self.experiment_name,
            time=time.strftime('%Y%m%d_%H%M%S'),
            mmengine_version=mmengine.__version__,
        )
        if hasattr(self.train_dataloader.dataset, 'metainfo'):
            meta['dataset_meta'] = self.train_dataloader.dataset.metainfo
        checkpoint = dict(
            meta=meta,
            state_dict=self.strategy.model_state_dict(),
            message_hub=apply_to(
                self.message_hub.state_dict(), lambda x: hasattr(x, 'cpu'), lambda x: x.cpu()
            ),
        )
        if save_optimizer:
            checkpoint['optimizer'] = self.strategy.optim_state_dict()
        if save_param_scheduler and self.param_schedulers is not None:
            checkpoint['param_schedulers'] = self.strategy.scheduler_state_dict()
        self.call_hook('before_save_checkpoint', checkpoint=checkpoint)
        if is_main_process():
            path = join_path(out_dir, filename, backend_args=backend_args)
            save_checkpoint(checkpoint, path, backend_args=backend_args)
