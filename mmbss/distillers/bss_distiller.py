"""A front door for configs: a distiller with a boundary."""

from typing import Any

from mmbss.distillers.distiller import Distiller
from mmbss.engine.errors import ConfigError
from mmbss.registry import MODELS


@MODELS.register_module()
class BSSDistiller(Distiller):
    """A :class:`Distiller` one of whose terms, ``loss_bss``, is the boundary.

    Args:
        boundary: Arguments of the :class:`~mmbss.boundary.BoundaryLoss`.
        losses: Further terms, see :class:`Distiller`.
        **distiller: Arguments of :class:`Distiller`.

    Raises:
        ConfigError: As :class:`Distiller`; or if there is a term ``loss_bss`` already.
    """

    def __init__(
        self,
        boundary: dict[str, Any],
        losses: dict[str, dict[str, Any]] | None = None,
        **distiller: Any,
    ) -> None:
        if 'loss_bss' in (losses or {}):
            raise ConfigError('losses: loss_bss is the boundary of a BSSDistiller: rename the term')
        term = {'type': 'mmbss.BoundaryLoss', **boundary}
        super().__init__(losses={**(losses or {}), 'loss_bss': term}, **distiller)
