"""What a training switches to later: other augmentations, another loss of the head."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from mmengine.runner import Runner
from mmpretrain.engine.hooks import SwitchRecipeHook

from mmbss.engine.errors import ConfigError, refuse
from mmbss.engine.models import unwrap


def try_recipes(runner: Runner, try_batches: Callable[[], Any]) -> None:
    """Follow the recipes of mmpretrain's ``SwitchRecipeHook``, without a word in the log, and back.

    Args:
        runner: A runner.
        try_batches: Refuses what does not fit.

    Raises:
        ConfigError: With the epoch from which on something does not fit.
    """
    hooks = [hook for hook in runner.hooks if isinstance(hook, SwitchRecipeHook)]
    recipes = [(hook, *each) for hook in hooks for each in hook.schedule.items()]
    with switched_back(runner):
        for hook, epoch, recipe in recipes:
            try:
                if recipe.get('batch_augments'):
                    refuse_hard_labels(unwrap(runner.model))
                for part in ('batch_augments', 'train_pipeline', 'loss'):
                    if part in recipe:
                        getattr(hook, f'_switch_{part}')(runner, recipe[part])
                try_batches()
            except ConfigError as error:
                where = f'SwitchRecipeHook, from epoch {epoch} on: '
                raise ConfigError(*(f'{where}{line}' for line in error.args)) from error


def refuse_hard_labels(model: Any) -> None:
    """Refuse what mixing makes impossible, which is no mixing where a batch of two meets itself."""
    refuse(
        f'model.losses.{name} needs one hard label a sample, but batch_augments mixes '
        'them: leave out one of the two'
        for name, term in getattr(model, 'loss_modules', {}).items()
        if getattr(term, 'needs_hard_labels', False) and not term.needs_unmixed
    )


@contextmanager
def switched_back(runner: Runner) -> Iterator[None]:
    """Undo what recipes have switched meanwhile."""
    model: Any = unwrap(runner.model)
    places = [
        (model.data_preprocessor, 'batch_augments'),
        (model.data_preprocessor, 'to_onehot'),
        (model.head, 'loss_module'),
        *((dataset, 'pipeline') for dataset in _leaves(runner.train_dataloader.dataset)),
    ]
    before = [(at, name, getattr(at, name)) for at, name in places if hasattr(at, name)]
    try:
        yield
    finally:
        for at, name, value in before:
            setattr(at, name, value)


def _leaves(dataset: Any) -> Iterator[Any]:
    """The datasets whose pipeline the hook changes."""
    if hasattr(dataset, 'pipeline'):
        yield dataset
    else:
        inner = getattr(dataset, 'datasets', None) or [getattr(dataset, 'dataset', None)]
        for each in inner:
            if each is not None:
                yield from _leaves(each)
