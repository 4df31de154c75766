"""Weights that timm has saved, for a student whose backbone is mmpretrain's ``TIMMBackbone``."""

import logging
from typing import Any

from mmengine.logging import print_log
from torch import nn

from mmbss.engine.errors import ConfigError
from mmbss.engine.files.checkpoint_reading import read_checkpoint
from mmbss.engine.models import load_strictly
from mmbss.registry import WEIGHT_INITIALIZERS

#: Under which names a file may hold the weights that are wanted.
HOLDERS = ('state_dict', 'model')


@WEIGHT_INITIALIZERS.register_module()
class TimmPretrained:
    """Fills the model in a ``TIMMBackbone`` from a file that timm has saved, as its ``init_cfg``.

    All weights must fit but those of the classifier, in whose place the student has a head of its
    own. The file is read as weights alone, and nothing is downloaded but what a URL names.

    Args:
        checkpoint: Path or URL of a ``.safetensors`` or torch file with the names that timm gives.

    Raises:
        MissingFileError: If there is no such file.
        ConfigError: If it cannot be read.
    """

    def __init__(self, checkpoint: str) -> None:
        self.checkpoint = checkpoint
        #: Set by mmengine for entries with ``override``; nothing here depends on it.
        self.wholemodule = False
        content = read_checkpoint(checkpoint)
        self.state: dict[str, Any] = next(
            (content[name] for name in HOLDERS if isinstance(content.get(name), dict)), content
        )

    def __call__(self, module: nn.Module) -> None:
        """Fill a backbone.

        Raises:
            ConfigError: If it has no model of timm, or a weight is missing, left over or of another
                shape.
        """
        model: Any = getattr(module, 'timm_model', None)
        if model is None:
            raise ConfigError(
                f'init_cfg: mmbss.TimmPretrained is for a TIMMBackbone, no {type(module).__name__}'
            )
        said = model.pretrained_cfg.get('classifier') or ()
        classifiers = (said,) if isinstance(said, str) else tuple(said)
        left_out = [
            key
            for key in self.state
            if key not in model.state_dict() and key.startswith(tuple(f'{c}.' for c in classifiers))
        ]
        state = {key: value for key, value in self.state.items() if key not in left_out}
        load_strictly(model, state, f'init_cfg: {self.checkpoint} does not fit the backbone')
        # else mmengine would have timm draw them anew
        model.is_init = True
        print_log(
            f'{len(state)} weights of {self.checkpoint} loaded into the TIMMBackbone; left out: '
            f'{", ".join(sorted(left_out)) or "none"}',
            'current',
            logging.INFO,
        )
