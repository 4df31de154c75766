"""Try a validation on a few samples, and what hooks and schedules ask of its results."""

import copy
from collections.abc import Iterator, Sized
from typing import Any, cast

from mmengine.dist import get_world_size
from mmengine.evaluator import BaseMetric, Evaluator
from mmengine.runner import Runner, ValLoop, autocast
from torch import Tensor

from mmbss.engine.build import is_known_of
from mmbss.engine.errors import ConfigError, naming, refuse
from mmbss.engine.trial.batches import edge_rows, read_batch
from mmbss.registry import HOOKS

#: Of so few samples some metrics can be computed only by chance.
SAMPLES = 2
#: The hook without which metrics do not know the model.
HANDS_OVER = 'mmbss.ModelMetricHook'


def try_validation(runner: Runner, model: Any, loop: ValLoop) -> list[Tensor]:
    """Pass the first and the last sample through the model and every metric.

    Metrics that ask the model itself are handed it. They stay attached to these samples, until
    the validation itself attaches them to its own.

    Returns:
        Batches of these samples, as the model gets them.

    Raises:
        ConfigError: If something does not fit, or a metric is asked for that nobody computes.
    """
    loader, evaluator, seen = loop.dataloader, loop.evaluator, []
    rows = edge_rows(len(cast(Sized, loader.dataset)), SAMPLES)
    is_handed_over = any(isinstance(hook, HOOKS.get(HANDS_OVER)) for hook in runner.hooks)
    for metric in evaluator.metrics:
        if asks_model(metric) and is_handed_over:
            metric.attach(model, len(rows) * get_world_size())
    size = loader.batch_size or 1
    for part in (rows[start : start + size] for start in range(0, len(rows), size)):
        batch, data = read_batch(loader, part, model, 'val_dataloader', training=False)
        seen.append(data['inputs'])
        passing = naming('val_dataloader: images do not pass the model')
        with passing, autocast(enabled=loop.fp16):
            predicted = model.val_step(batch)
        with naming('val_evaluator'):
            try:
                evaluator.process(data_samples=predicted, data_batch=batch)
            except KeyError as error:
                if error.args[:1] not in {('gt_label',), ('gt_score',)}:
                    raise
                raise ConfigError(
                    'val_dataloader.dataset: images have no labels, which val_evaluator needs: '
                    'take data with labels, or set val_cfg, val_dataloader and val_evaluator to '
                    'None'
                ) from error
    with naming('val_evaluator'):
        metrics = evaluator.evaluate(len(rows) * get_world_size())
    check_wanted(runner, evaluator, metrics)
    return seen


def asks_model(metric: BaseMetric) -> bool:
    """Whether a metric asks the model itself, so that it may find nothing in a few samples."""
    return hasattr(metric, 'attach')


def check_wanted(runner: Runner, evaluator: Evaluator, metrics: dict[str, Any]) -> None:
    """Refuse best checkpoints, early stops and learning rates by metrics that nobody computes."""
    uncertain = {each.prefix for each in evaluator.metrics if asks_model(each)}
    refuse(
        f'{where}={name!r} is computed by no metric: set it to one of '
        f'{", ".join(metrics) or "those of val_evaluator"}'
        for where, name in wanted(runner)
        if name not in metrics and name.partition('/')[0] not in uncertain
    )
    for hook in runner.hooks:
        if getattr(hook, 'key_indicators', None) == ['auto'] and metrics:
            check_rule(hook, next(iter(metrics)), [*metrics])


def wanted(runner: Runner) -> Iterator[tuple[str, str]]:
    """Settings that name a metric, and the names."""
    for hook in runner.hooks:
        kind = type(hook).__name__
        for name in getattr(hook, 'key_indicators', None) or ():
            if name != 'auto' and is_known_of(type(hook), 'save_best'):
                yield f'{kind}.save_best', name
        if isinstance(getattr(hook, 'monitor', None), str) and is_known_of(type(hook), 'monitor'):
            yield f'{kind}.monitor', hook.monitor
    for schedule in schedules_of(runner):
        is_text = isinstance(getattr(schedule, 'monitor', None), str)
        if is_text and is_known_of(type(schedule), 'monitor'):
            yield f'param_scheduler ({type(schedule).__name__}).monitor', schedule.monitor


def schedules_of(runner: Runner) -> list[Any]:
    """The schedules of a runner, of all its optimizers; none before they are built."""
    schedules: Any = runner.param_schedulers
    if isinstance(schedules, dict):
        schedules = [each for some in schedules.values() if isinstance(some, list) for each in some]
    return schedules if isinstance(schedules, list) else []


def check_rule(hook: Any, first: str, names: list[str]) -> None:
    """Refuse ``save_best='auto'`` where the first metric does not tell whether more is better."""
    try:
        copy.copy(hook)._init_rule(hook.rules, [first])
    except (KeyError, ValueError) as error:
        raise ConfigError(
            f"default_hooks.checkpoint.save_best='auto' takes the first metric, {first}, of which "
            "is not known whether more is better: set rule='greater' or 'less' beside it, or "
            f'save_best to another of {", ".join(names)}'
        ) from error
