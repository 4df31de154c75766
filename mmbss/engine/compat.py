"""Repairs of the platform: each with its cause, none applied where it is not needed.

Importing :mod:`mmbss` calls :func:`repair_platform` before anything else, because mmpretrain
imports torchvision and mmengine reads checkpoints.
"""

from __future__ import annotations

import functools
import pickle
import sys
import warnings
from collections.abc import Callable
from importlib import import_module, metadata, util
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

if TYPE_CHECKING:  # mmengine is checked for, and reads torchvision, before it may be imported
    from mmengine.config import Config

# Operators stay declared only as long as their library object lives.
_operator_libraries: list[torch.library.Library] = []


def repair_platform() -> None:
    """Apply every repair that this environment needs.

    Raises:
        ImportError: If no OpenMMLab stack is installed, or two that overwrite each other.
    """
    silence_import_warnings()
    check_openmmlab_stack()
    declare_torchvision_operators()
    allow_mmengine_checkpoints()
    guard_mmengine_checkpoints()
    explain_failed_resume()
    register_config_package()
    repair_negative_hue()
    name_unreadable_images()


def check_openmmlab_stack() -> None:
    """Refuse an environment without the OpenMMLab packages or with two copies of one.

    Cause: the official packages and the maintained ``onedl`` fork share their import names;
    installed together, the files of one silently overwrite the other's. For the same reason
    mmbss cannot name either of them as a hard requirement.

    Raises:
        ImportError: With the command that repairs the environment.
    """
    for name in ('mmengine', 'mmcv', 'mmpretrain'):
        if util.find_spec(name) is None:
            raise ImportError(
                f'mmbss needs {name}: in its folder, run "pip install -e .[openmmlab]" for the '
                'official OpenMMLab packages or "pip install -e .[onedl]" for the maintained fork'
            )
        copies = [copy for copy in (name, f'{name}-lite', f'onedl-{name}') if _is_installed(copy)]
        if len(copies) > 1:
            raise ImportError(
                f'{" and ".join(copies)} are installed together and overwrite each other: '
                f'run "pip uninstall -y {" ".join(copies)}", then install one of them'
            )


def _is_installed(distribution: str) -> bool:
    try:
        metadata.version(distribution)
    except metadata.PackageNotFoundError:
        return False
    return True


def silence_import_warnings() -> None:
    """Drop two warnings that users of image classifiers can do nothing about.

    Cause: mmcv-lite says at every import that it has no compiled operators, and setuptools that
    mmengine 0.10 should not import its ``pkg_resources``.
    """
    for message in ('Fail to import ``MultiScaleDeformableAttention``', 'pkg_resources is deprec'):
        warnings.filterwarnings('ignore', message, category=UserWarning)


def declare_torchvision_operators() -> None:
    """Make a torchvision that was built for CUDA importable beside a CPU build of torch.

    Cause: such a wheel cannot load its compiled operators, and then registers fake versions of
    operators that nobody declared (``operator torchvision::nms does not exist``). mmpretrain
    needs the Python part of torchvision only, so declaring the two schemas is enough.
    """
    try:
        import_module('torchvision')
        return
    except RuntimeError as error:
        if 'torchvision::' not in str(error):
            raise
    library = torch.library.Library('torchvision', 'FRAGMENT')
    library.define('nms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor')
    library.define(
        'qnms(Tensor dets, Tensor scores, Tensor scales, Tensor zero_points, '
        'float iou_threshold) -> Tensor'
    )
    _operator_libraries.append(library)
    for name in [name for name in sys.modules if name.split('.')[0] == 'torchvision']:
        del sys.modules[name]
    import_module('torchvision')


def allow_mmengine_checkpoints() -> None:
    """Let ``torch.load(weights_only=True)`` read the checkpoints that mmengine writes.

    Cause: torch >= 2.6 refuses classes it does not know, and mmengine 0.10 stores its
    ``HistoryBuffer`` of NumPy arrays in every checkpoint (mmengine #1655), so ``--resume``,
    ``load_from`` and ``get_model`` fail. Pickles of anything else stay refused. They name the
    methods of ``HistoryBuffer`` with ``getattr``, in whose place they get
    :func:`history_statistic`: with ``getattr`` itself a pickle would get at everything.
    """
    from mmengine.logging.history_buffer import HistoryBuffer

    multiarray = import_module(
        'numpy._core.multiarray' if util.find_spec('numpy._core') else 'numpy.core.multiarray'
    )
    allowed: list[Any] = [
        HistoryBuffer,
        (history_statistic, 'builtins.getattr'),
        np.ndarray,
        np.dtype,
        type(np.dtype(np.float64)),
        type(np.dtype(np.int64)),
        multiarray._reconstruct,
        multiarray.scalar,
        # checkpoints written under NumPy 1 name the same two functions differently
        (multiarray._reconstruct, 'numpy.core.multiarray._reconstruct'),
        (multiarray.scalar, 'numpy.core.multiarray.scalar'),
    ]
    torch.serialization.add_safe_globals(allowed)


def history_statistic(owner: object, name: str) -> Callable[..., Any]:
    """The ``getattr`` of a checkpoint: finds the statistics of mmengine's histories alone.

    Args:
        owner: ``HistoryBuffer``.
        name: One of the statistics that mmengine defines.

    Returns:
        The method.

    Raises:
        pickle.UnpicklingError: If the checkpoint asks for anything else.
    """
    from mmengine.logging.history_buffer import HistoryBuffer

    if owner is not HistoryBuffer or name not in ('min', 'max', 'current', 'mean'):
        raise pickle.UnpicklingError(f'a checkpoint may not look up {name!r} of {owner!r}')
    return getattr(HistoryBuffer, name)


def guard_mmengine_checkpoints() -> None:
    """Have mmengine read checkpoints with :func:`mmbss.engine.files.read_checkpoint`.

    Cause: mmengine loads what it downloads with ``weights_only=False``, over http too, and the
    onedl fork falls back to that for local files that were refused. A resume also runs the text
    in ``meta['config']``, where mmengine itself stores none. So a checkpoint in ``load_from``,
    ``--resume`` or an ``init_cfg`` could run code.
    """
    from mmengine.runner import checkpoint

    def load_from_local(filename: str, map_location: Any = None, **kwargs: Any) -> Any:
        from mmbss.engine.files import read_checkpoint

        content = read_checkpoint(filename, map_location)
        meta = content.get('meta')
        if isinstance(meta, dict):
            # not pop(): an OrderedDict from a pickle may have a method of that name of its own
            content['meta'] = {key: meta[key] for key in dict.keys(meta) if key != 'config'}
        return content

    def load_from_http(filename: str, map_location: Any = None, **kwargs: Any) -> Any:
        return load_from_local(filename, map_location)

    # mmcls://, openmmlab:// and torchvision:// stand for URLs and end here
    checkpoint.load_from_http = load_from_http
    register = checkpoint.CheckpointLoader.register_scheme
    register('', load_from_local, force=True)
    # those of object stores are refused, for they cannot be read safely
    stores = ('pavi://', r'(\S+\:)?s3://', r'(\S+\:)?petrel://')
    register(('http://', 'https://', *stores), load_from_http, force=True)


def explain_failed_resume() -> None:
    """Say what is wrong with a checkpoint from which a training cannot go on.

    Cause: mmengine ends with ``KeyError: 'meta'`` and the like where a file holds weights alone,
    or the state of another training.
    """
    from mmengine.runner import Runner

    original = Runner.resume

    @functools.wraps(original)
    def resume(self: Runner, filename: str, *args: Any, **kwargs: Any) -> None:
        try:
            original(self, filename, *args, **kwargs)
        except (AttributeError, KeyError, TypeError, ValueError) as error:
            if str(filename) in str(error):  # it could not be read
                raise
            raise ValueError(
                f'cannot resume from {filename} ({type(error).__name__}: {error}): it is not of a '
                'run with this config; take its weights alone with load_from, without resume'
            ) from error

    Runner.resume = resume


def register_config_package() -> None:
    """Let configs inherit with ``_base_ = 'mmbss::...'``.

    Cause: mmengine resolves the scope of a config only for a closed list of packages. It then
    asks for the folder of the distribution, which is wrong in an editable install; given the
    name of a module that is no distribution, it takes the folder the module lies in.
    """
    from mmengine.config import utils

    utils.MODULE2PACKAGE['mmbss'] = 'mmbss.registry'


def repair_negative_hue() -> None:
    """Let mmpretrain's ``ColorJitter`` draw a negative hue.

    Cause: mmcv 2.2 adds ``np.uint8(hue_factor * 255)`` to the hue and counts on it to wrap
    around below zero, which NumPy >= 2 refuses.
    """
    import cv2
    import mmcv
    from mmcv.image import photometric

    original = photometric.adjust_hue
    try:
        original(np.zeros((1, 1, 3), np.uint8), -0.1)
        return
    except OverflowError:
        pass

    def adjust_hue(img: np.ndarray, hue_factor: float, backend: str | None = None) -> np.ndarray:
        if not -0.5 <= hue_factor < 0:
            return original(img, hue_factor, backend)
        hsv = cv2.cvtColor(img.astype(np.uint8), cv2.COLOR_BGR2HSV_FULL)
        hsv[..., 0] += np.uint8(int(hue_factor * 255) % 256)  # uint8 addition turns the circle
        return cv2.cvtColor(hsv, cv2.COLOR_HSV2BGR_FULL).astype(img.dtype)

    for module in (mmcv, mmcv.image, photometric):
        module.adjust_hue = adjust_hue


def name_unreadable_images() -> None:
    """Say which image file cannot be read, and what to do.

    Cause: where a file has vanished or is damaged, mmcv's ``LoadImageFromFile`` ends with
    whatever error comes up below it; that of an empty file does not name the file.
    """
    import cv2
    from mmcv.transforms import LoadImageFromFile

    original = LoadImageFromFile.transform

    @functools.wraps(original)
    def transform(self: LoadImageFromFile, results: dict[str, Any]) -> dict[str, Any] | None:
        try:
            return original(self, results)
        except (AssertionError, OSError, cv2.error) as error:
            raise ValueError(
                f'cannot read the image {results["img_path"]} ({type(error).__name__}): restore '
                'the file, or take it out of the dataset, then go on with --resume'
            ) from error

    LoadImageFromFile.transform = transform


def prepare_cpu_distributed(cfg: Config) -> None:
    """Let several processes train on a machine without a GPU.

    Cause: mmengine's ``init_dist`` always selects a CUDA device, and its DDP wrapper is given
    one. A process group that exists already is left alone.

    Args:
        cfg: Config of a run under ``--launcher pytorch``; any other is not touched.
    """
    if cfg.get('launcher', 'none') != 'pytorch' or torch.cuda.is_available():
        return
    torch.distributed.init_process_group('gloo')
    if cfg.get('model_wrapper_cfg') is None:
        cfg.model_wrapper_cfg = dict(
            type='MMDistributedDataParallel', device_ids=None, broadcast_buffers=False
        )
