"""Read what modules put out while a model runs, without editing the model."""

import difflib
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from functools import partial
from typing import Any

from torch import Tensor, nn

from mmbss.engine.errors import ConfigError

#: Ends the path of a module whose input is meant, not its output.
INPUT = ':input'

#: A tensor at the moment a module has put it out, and how often it had been changed by then.
Call = tuple[Any, int]


@contextmanager
def outputs_of(head: nn.Module) -> Iterator[tuple[list[Any], list[Any]]]:
    """Collect what a head puts out, while the context is open, of features alone and of labels too.

    What it puts out when it is given labels, to add a margin, is not what it says when it is
    deployed.

    Examples:
        >>> import torch
        >>> head = torch.nn.Bilinear(2, 2, 3)
        >>> with outputs_of(head) as (deployed, with_labels):
        ...     _ = head(torch.zeros(1, 2), torch.zeros(1, 2))
        >>> len(deployed), len(with_labels)
        (0, 1)
    """
    deployed: list[Any] = []
    with_labels: list[Any] = []

    def record(module: nn.Module, args: Any, kwargs: dict[str, Any], output: Any) -> None:
        kind = deployed if len(args) == 1 and not kwargs else with_labels
        kind.append(output)

    handle = head.register_forward_hook(record, with_kwargs=True)
    try:
        yield deployed, with_labels
    finally:
        handle.remove()


class FeatureRecorder:
    """Records features inside a model while it runs, and keeps none of them.

    Its forward hooks stay on the modules, for a network that is compiled (mmengine's ``compile``)
    knows only those hooks that were there when it was compiled.

    Args:
        model: The model.
        role: What the model is called in messages.

    Examples:
        >>> import torch
        >>> model = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(4, 2))
        >>> with FeatureRecorder(model, 'model').recording(['0']) as features:
        ...     _ = model(torch.zeros(1, 2, 2))
        >>> features
        {'0': tensor([[0., 0., 0., 0.]])}
    """

    def __init__(self, model: nn.Module, role: str) -> None:
        self.model = model
        self.role = role
        self.watched: dict[str, nn.Module] = {}
        self.calls: dict[str, list[Call]] | None = None

    def watch(self, paths: Iterable[str]) -> None:
        """Hook the modules of these paths, where that has not been done.

        Args:
            paths: Paths of modules, as :meth:`torch.nn.Module.named_modules` spells them, whose
                output is meant, or with ``':input'`` at the end their input.

        Raises:
            ConfigError: If there is no such module; names the closest ones.
        """
        for path in paths:
            module = find_module(self.model, path.removesuffix(INPUT), self.role)
            # another module may have taken the place since, such as a SyncBatchNorm
            if self.watched.get(path) is not module:
                self.watched[path] = module
                if path.endswith(INPUT):
                    module.register_forward_pre_hook(partial(self._record_input, path))
                else:
                    module.register_forward_hook(partial(self._record_output, path))

    @contextmanager
    def recording(self, paths: Iterable[str]) -> Iterator[dict[str, Tensor]]:
        """Gives a dict that holds the features of these paths when the context has closed.

        Raises:
            ConfigError: At the end, if a module has not run just once, its output is no tensor,
                or the tensor has been overwritten since.
        """
        calls: dict[str, list[Call]] = {path: [] for path in paths}
        self.watch(calls)
        features: dict[str, Tensor] = {}
        self.calls = calls
        try:
            yield features
        finally:
            self.calls = None
        features.update({path: self._feature(path, calls[path]) for path in calls})

    def _record_input(self, path: str, module: nn.Module, args: tuple[Any, ...]) -> None:
        self._record(path, args[0] if args else None)

    def _record_output(self, path: str, module: nn.Module, args: Any, output: Any) -> None:
        self._record(path, output)

    def _record(self, path: str, value: Any) -> None:
        if self.calls is not None and path in self.calls:
            version = value._version if isinstance(value, Tensor) else 0
            self.calls[path].append((value, version))

    def _feature(self, path: str, calls: list[Call]) -> Tensor:
        """The one tensor that was recorded."""
        where = f"the {self.role}'s {path}"
        parts = [f'{path}.{name}' for name, _ in self.watched[path].named_children()]
        instead = f': name one of its parts, {", ".join(parts[:6])}' if parts else ''
        if not calls:
            raise ConfigError(f'{where} is not called when the {self.role} runs{instead}')
        if len(calls) > 1:
            raise ConfigError(
                f'{where} runs {len(calls)} times on one batch: name a module that runs once'
            )
        ((value, version),) = calls
        if not isinstance(value, Tensor):
            kind = type(value).__name__
            raise ConfigError(f'{where} is a {kind}, but a feature is a tensor{instead}')
        if value._version > version:
            raise ConfigError(
                f'{where} is overwritten by a module after it, such as ReLU(inplace=True): name '
                'that one or the block around it instead'
            )
        return value


def find_module(model: nn.Module, path: str, role: str) -> nn.Module:
    """The module of a path, as ``named_modules()`` spells it.

    Raises:
        ConfigError: If there is none; names the closest ones.

    Examples:
        >>> find_module(nn.ModuleDict(dict(backbone=nn.ReLU())), 'backbon', 'teacher')
        Traceback (most recent call last):
        mmbss.engine.errors.ConfigError: the teacher has no module 'backbon', did you mean ...
    """
    with suppress(AttributeError):
        if path:
            return model.get_submodule(path)
    names = [name for name, _ in model.named_modules() if name]
    closest = difflib.get_close_matches(path, names, n=3)
    if closest:
        hint = f'did you mean {" or ".join(map(repr, closest))}?'
    else:
        hint = f'it consists of {", ".join(name for name, _ in model.named_children())}'
    raise ConfigError(f'the {role} has no module {path!r}, {hint}')
