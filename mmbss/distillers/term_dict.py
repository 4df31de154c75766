"""Terms whose weights train with the student without being a part of it."""

import textwrap
from typing import Any, cast

from torch import Tensor, nn

from mmbss.engine.errors import ConfigError
from mmbss.losses import Term

StateDict = dict[str, Tensor]


class TermDict(nn.ModuleDict):
    """Terms of the loss by name, which appear in no state dict.

    Weights of a term, such as a regressor between features, are parameters of the distiller
    like those of the student: the optimizer, DDP and EMA see them. But they are left out of
    ``state_dict()``, and where one is loaded they stay as they are, so that the checkpoint of a
    distiller is a plain student. :meth:`weights` and :meth:`load_weights` are for a resume.

    Examples:
        >>> losses = TermDict(dict(loss_hint=nn.Linear(2, 3)))
        >>> list(losses.state_dict()), list(losses.weights()['loss_hint'])
        ([], ['weight', 'bias'])
    """

    def __init__(self, losses: dict[str, nn.Module] | None = None) -> None:
        super().__init__(losses)
        # mmengine collects the state of every submodule itself, but calls these hooks
        self.register_state_dict_post_hook(_leave_out)

    def with_weights(self) -> list[str]:
        """Names of the losses that have weights or buffers."""
        return sorted(name for name, loss in self.items() if loss.state_dict())

    def weights(self) -> dict[str, StateDict]:
        """The state of each loss that has one, on the CPU."""
        return {
            name: {key: value.cpu() for key, value in self[name].state_dict().items()}
            for name in self.with_weights()
        }

    def load_weights(self, weights: dict[str, StateDict]) -> None:
        """Load what :meth:`weights` gave.

        Raises:
            ConfigError: If it is of other losses; names them.
        """
        if sorted(weights) != self.with_weights():
            raise ConfigError(
                f'the checkpoint holds weights of the losses {sorted(weights)}, but the distiller '
                f'needs those of {self.with_weights()}: resume with the config of the run, or '
                'load the student alone with load_from'
            )
        for name, state in weights.items():
            try:
                self[name].load_state_dict(state)
            except RuntimeError as error:
                reason = textwrap.shorten(str(error), 300)
                raise ConfigError(f"the checkpoint's {name} does not fit: {reason}") from error

    def active(self) -> dict[str, Term]:
        """The terms that have a weight, by name."""
        return {name: term for name, term in self.all().items() if term.loss_weight > 0}

    def shares(self) -> dict[str, float]:
        """The share of the gradient of each term that is to have one, by name."""
        return {name: term.share for name, term in self.all().items() if term.share is not None}

    def idle(self, like: Tensor, further: tuple[str, ...] = ()) -> dict[str, Tensor]:
        """What the log gets of the terms of weight 0: a loss of 0, and statistics of 0.

        Args:
            like: Says on which device.
            further: Statistics beside those of each term.

        mmengine would go on logging the last value of a name that is no longer returned.
        """
        log = {}
        for name, term in self.all().items():
            if term.loss_weight == 0:
                log[name] = term.nothing(like)
                statistics = (*term.statistics, *further)
                log |= logged(name, dict.fromkeys(statistics, like.new_zeros(())))
        return log

    def all(self) -> dict[str, Term]:
        """All of them by name."""
        return cast('dict[str, Term]', dict(self.items()))

    def _load_from_state_dict(self, state_dict: StateDict, prefix: str, *args: Any) -> None:
        # each loss looks its weights up there, and finds its own
        for name, loss in self.items():
            for key, value in loss.state_dict(keep_vars=True).items():
                state_dict.setdefault(f'{prefix}{name}.{key}', value)
        super()._load_from_state_dict(state_dict, prefix, *args)


def _leave_out(losses: nn.Module, state_dict: StateDict, prefix: str, metadata: Any) -> None:
    for key in [key for key in state_dict if key.startswith(prefix)]:
        del state_dict[key]


def logged(name: str, statistics: dict[str, Tensor]) -> dict[str, Tensor]:
    """Statistics of a term under the names that they have in the log.

    Examples:
        >>> import torch
        >>> logged('loss_bss', dict(accepted=torch.tensor(0.5)))
        {'bss_accepted': tensor(0.5000)}
    """
    own = name.removeprefix('loss_')
    return {f'{own}_{key}': value.detach() for key, value in statistics.items()}


def layers_of(terms: dict[str, Term], role: str) -> list[str]:
    """Paths that these terms name in the ``'student'`` or the ``'teacher'``."""
    return [path for term in terms.values() for path in term.layers[role]]
