"""What a training switches to later: other augmentations, another loss of the head."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from mmengine.runner import Runner
from mmpretrain.engine.hooks import SwitchRecipeHook

from mmbss.engine.errors import ConfigError, refuse
from mmbss.engine.models import unwrap


def recipes_of(runner: Runner) -> list[tuple[int, dict[str, Any]]]:
    """Epochs and recipes of mmpretrain's ``SwitchRecipeHook``, in their order."""
    return [
        (epoch, recipe)
        for hook in runner.hooks
        if isinstance(hook, SwitchRecipeHook)
        for epoch, recipe in hook.schedule.items()
    ]


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


@contextmanager
def switched(runner: Runner, epoch: int, recipe: dict[str, Any]) -> Iterator[None]:
    """Follow a recipe, without a word in the log, and name it in what is refused then.

    Raises:
        ConfigError: With the epoch from which on something does not fit.
    """
    hook, model = SwitchRecipeHook, unwrap(runner.model)
    steps = dict(
        batch_augments=hook._switch_batch_augments,
        train_pipeline=hook._switch_train_pipeline,
        loss=hook._switch_loss,
    )
    try:
        if recipe.get('batch_augments'):
            # a batch of two is often mixed with itself
            refuse(
                f'model.losses.{name} needs one hard label a sample, but batch_augments mixes '
                'them: leave out one of the two'
                for name, term in getattr(model, 'loss_modules', {}).items()
                if getattr(term, 'needs_hard_labels', False) and not term.needs_unmixed
            )
        for name, step in steps.items():
            if name in recipe:
                step(runner, recipe[name])
        yield
    except ConfigError as error:
        where = f'SwitchRecipeHook, from epoch {epoch} on: '
        raise ConfigError(*(f'{where}{line}' for line in error.args)) from error


def _leaves(dataset: Any) -> Iterator[Any]:
    """The datasets whose pipeline the hook changes."""
    if hasattr(dataset, 'pipeline'):
        yield dataset
    else:
        inner = getattr(dataset, 'datasets', None) or [getattr(dataset, 'dataset', None)]
        for each in inner:
            if each is not None:
                yield from _leaves(each)
