"""What mmengine reads of a config one by one, as the arguments of functions that take them."""

from typing import Any


def of_top(
    activation_checkpointing: Any = None,
    compile: Any = None,
    custom_imports: Any = None,
    efficient_conv_bn_eval: Any = None,
    find_unused_parameters: bool | None = False,
    model_wrapper_cfg: Any = None,
    runner_type: str | None = None,
    sync_bn: Any = None,
) -> None:
    """At its top, beside the arguments of the runner."""


def of_auto_scale_lr(base_batch_size: int | None = None, enable: bool | None = False) -> None:
    """Of ``auto_scale_lr``."""


def of_env_cfg(
    cudnn_benchmark: bool | None = False,
    dist_cfg: Any = None,
    mp_cfg: Any = None,
    resource_limit: int = 4096,
) -> None:
    """Of ``env_cfg``."""


def of_schedule(
    convert_to_iter_based: bool | None = False, epoch_length: int | None = None
) -> None:
    """Of an entry of ``param_scheduler``, beside the arguments of its class."""


def of_paramwise_cfg(
    custom_keys: Any = None,
    bias_lr_mult: Any = None,
    bias_decay_mult: Any = None,
    norm_decay_mult: Any = None,
    flat_decay_mult: Any = None,
    dwconv_decay_mult: Any = None,
    dcn_offset_lr_mult: Any = None,
    bypass_duplicate: bool | None = False,
) -> None:
    """Of ``optim_wrapper.paramwise_cfg``; what a factor may be is checked with those of groups."""


def of_recipe(
    action_epoch: int,
    train_pipeline: Any = None,
    batch_augments: Any = None,
    loss: Any = None,
) -> None:
    """Of an entry of the ``schedule`` of mmpretrain's ``SwitchRecipeHook``."""
