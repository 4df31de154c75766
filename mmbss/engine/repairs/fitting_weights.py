"""Refuse weights of which a model takes none, and say how many it has taken.

Cause: mmengine loads ``load_from`` and ``init_cfg`` without ``strict``, so that names which do not
fit leave the model as it was, with a warning of thousands of characters.
"""

import functools
import logging
from typing import Any

from mmbss.engine.errors import ConfigError


def repair(checkpoint: Any) -> None:
    """Count what ``mmengine.runner.checkpoint.load_state_dict`` loads."""
    original = checkpoint.load_state_dict

    @functools.wraps(original)
    def load_state_dict(
        module: Any, state_dict: Any, strict: bool = False, logger: Any = None
    ) -> None:
        from mmengine.logging import print_log
        from mmengine.model import BaseTTAModel

        from mmbss.engine.models import misfit, shapes_of, unwrap

        model = unwrap(module)
        if isinstance(model, BaseTTAModel):  # into which mmengine looks, too
            model = model.module
        own, given = shapes_of(model.state_dict()), shapes_of(state_dict)
        fitting = [key for key in own if given.get(key) == own[key]]
        # a counter of batches fits any network, and the bias of a head any of as many classes
        wide = {key for key, shape in own.items() if isinstance(shape, tuple) and len(shape) > 1}
        fits = wide.intersection(fitting) if wide else fitting
        # some networks rename what they are given
        renames = any(part._load_state_dict_pre_hooks for part in module.modules())
        if own and not fits and not strict and not renames:
            raise ConfigError(
                'load_from or init_cfg: none of the weights fit the '
                f'{type(module).__name__}: {misfit(own, given)}'
            )
        original(module, state_dict, strict, logger)
        if len(fitting) < len(own):
            said = f'{len(fitting)} of {len(own)} weights of the {type(module).__name__} loaded'
            print_log(f'{said}: {misfit(own, given)}', logger, logging.WARNING)

    checkpoint.load_state_dict = load_state_dict
