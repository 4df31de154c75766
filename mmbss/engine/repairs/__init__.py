"""Repairs of the platform: one a module, with its cause, none applied where it is not needed.

Each is made right after the library in question has been imported, whoever imports it, or at once
where that has happened already. So importing :mod:`mmbss` itself imports none of them.
"""

from functools import cache

from wrapt import register_post_import_hook

from mmbss.engine.repairs.import_warnings import silence_import_warnings
from mmbss.engine.repairs.openmmlab_stack import check_openmmlab_stack

#: What ``repair`` of which module does something about, by the module of the library.
REPAIRS = {
    'torch': ('torchvision_operators',),
    'mmengine.logging.message_hub': ('history_buffers',),
    'mmengine.registry': ('own_registries',),
    'mmengine.utils.package_utils': ('package_paths',),
    'mmengine.config.config': ('config_dump',),
    'mmengine.config.utils': ('config_package',),
    'mmengine.dataset.base_dataset': ('unusable_images',),
    'mmengine.hooks.checkpoint_hook': ('pointer_file',),
    'mmengine.hooks.runtime_info_hook': ('stale_metrics',),
    'mmengine.runner.activation_checkpointing': ('activation_checkpointing',),
    'mmengine.runner.checkpoint': ('checkpoint_loading', 'checkpoint_saving', 'fitting_weights'),
    'mmengine.runner.runner': ('failed_resume',),
    'mmcv': ('negative_hue',),
    'mmpretrain.datasets': ('missing_archives',),
}


@cache
def repair_platform() -> None:
    """See to it that every repair is made that this environment needs; once.

    Raises:
        ImportError: If no OpenMMLab stack is installed, or two that overwrite each other.
    """
    check_openmmlab_stack()
    silence_import_warnings()
    for library, names in REPAIRS.items():
        for name in names:
            register_post_import_hook(f'{__name__}.{name}:repair', library)
