"""Refuse an environment without the OpenMMLab packages or with two copies of one.

Cause: the official packages and the maintained ``onedl`` fork share their import names; installed
together, the files of one silently overwrite the other's. For the same reason mmbss cannot name
either of them as a hard requirement.
"""

from importlib import metadata, util


def check_openmmlab_stack() -> None:
    """Look at what is installed, without importing it.

    Raises:
        ImportError: With the command that repairs the environment.
    """
    for name in ('mmengine', 'mmcv', 'mmpretrain'):
        if util.find_spec(name) is None:
            raise ImportError(
                f'mmbss needs {name}: run "pip install mmbss[openmmlab]" for the official '
                'OpenMMLab packages or "pip install mmbss[onedl]" for the maintained fork; in a '
                'checkout, -e .[openmmlab] or -e .[onedl]'
            )
        copies = [copy for copy in (name, f'{name}-lite', f'onedl-{name}') if is_installed(copy)]
        if len(copies) > 1:
            raise ImportError(
                f'{" and ".join(copies)} are installed together and overwrite each other: '
                f'run "pip uninstall -y {" ".join(copies)}", then install one of them'
            )


def is_installed(distribution: str) -> bool:
    """Whether there is a distribution of that name."""
    try:
        metadata.distribution(distribution)
    except metadata.PackageNotFoundError:
        return False
    return True
