"""Have mmengine read checkpoints with mmbss, see :mod:`mmbss.engine.files.checkpoint_reading`.

Cause: mmengine loads what it downloads with ``weights_only=False``, over http too, and the onedl
fork falls back to that for local files that were refused. A resume also runs the text in
``meta['config']``, where mmengine itself stores none. So a checkpoint in ``load_from``,
``--resume`` or an ``init_cfg`` could run code.
"""

from typing import Any

from mmbss.engine.errors import ConfigError


def repair(checkpoint: Any) -> None:
    """Replace the loaders in ``mmengine.runner.checkpoint``."""
    # mmcls://, openmmlab:// and torchvision:// stand for URLs and end here
    checkpoint.load_from_http = load_checkpoint
    register = checkpoint.CheckpointLoader.register_scheme
    # those of object stores are refused, for they cannot be read safely
    stores = ('pavi://', r'(\S+\:)?s3://', r'(\S+\:)?petrel://')
    register(('', 'http://', 'https://', *stores), load_checkpoint, force=True)


def load_checkpoint(filename: str, map_location: Any = None, **kwargs: Any) -> Any:
    """Read a file, or download one, without the text that a resume would run."""
    from mmbss.engine.files.checkpoint_reading import read_checkpoint

    content = read_checkpoint(filename, map_location)
    meta = content.get('meta')
    if meta is None:
        return content
    # mmengine runs the text in meta['config'] as Python
    if not isinstance(meta, dict):
        raise ConfigError(f'cannot read {filename}: its meta is a {type(meta).__name__}, no dict')
    content['meta'] = {key: value for key, value in meta.items() if key != 'config'}
    return content
