"""Try an evaluation on a few samples, and what hooks and schedules ask of its results."""

import copy
import logging
from collections.abc import Iterator, Sized
from dataclasses import dataclass, field
from typing import Any, cast

from mmengine.dist import get_world_size
from mmengine.evaluator import BaseMetric, Evaluator
from mmengine.logging import print_log
from mmengine.runner import Runner, TestLoop, ValLoop, autocast
from torch import Tensor
from torch.utils.data import DataLoader

from mmbss.engine.build import accepted_keys, is_known_of, lookup
from mmbss.engine.errors import ConfigError, is_of_input, naming, one_line, refuse
from mmbss.engine.trial.batches import edge_rows, read_batch
from mmbss.registry import DATASETS, HOOKS

#: Of so few samples some metrics can be computed only by chance.
SAMPLES = 2
#: The hook without which metrics do not know the model.
HANDS_OVER = 'mmbss.ModelMetricHook'


@dataclass
class Evaluation:
    """A validation or a test.

    Attributes:
        where: ``'val'`` or ``'test'``.
        loader: Of the data.
        evaluator: Of the metrics.
        fp16: Whether it is one of mixed precision.
        metrics: What has been computed on a few samples.
        inputs: Batches of these samples, as the model gets them.
    """

    where: str
    loader: DataLoader
    evaluator: Evaluator
    fp16: bool = False
    metrics: dict[str, Any] = field(default_factory=dict)
    inputs: list[Tensor] = field(default_factory=list)


def find_evaluations(runner: Runner) -> list[Evaluation]:
    """The validation of a training, and its test where it is one of other data or metrics.

    Nobody needs the test before it is asked for, so where its data cannot be read, that is said.
    """
    found = []
    # loops of other kinds do as they like
    if isinstance(runner.val_loop, ValLoop):
        loop = runner.val_loop
        found.append(Evaluation('val', loop.dataloader, loop.evaluator, loop.fp16))
    parts = ('dataloader', 'evaluator')
    test, val = (
        {part: runner.cfg.get(f'{name}_{part}') for part in parts} for name in ('test', 'val')
    )
    is_usual = (runner.cfg.get('test_cfg') or {}).get('type', 'TestLoop') in ('TestLoop', TestLoop)
    if None in test.values() or test == val or not is_usual:
        return found
    loader = found[0].loader if found and test['dataloader'] == val['dataloader'] else None
    try:
        found.append(
            Evaluation(
                'test',
                loader or runner.build_dataloader(_without_download(test['dataloader'])),
                runner.build_evaluator(copy.deepcopy(test['evaluator'])),
            )
        )
    except Exception as error:
        if not is_of_input(error):
            raise
        print_log(
            f'test_dataloader and test_evaluator are not tried ({type(error).__name__}: '
            f'{one_line(error)})',
            'current',
            logging.WARNING,
        )
    return found


def _without_download(config: Any) -> Any:
    """A copy of a config whose datasets fetch nothing."""
    if isinstance(config, (list, tuple)):
        return [_without_download(each) for each in config]
    if not isinstance(config, dict):
        return copy.deepcopy(config)
    copied = {key: _without_download(value) for key, value in config.items()}
    kind = lookup(DATASETS, config.get('type'))
    if callable(kind) and 'download' in accepted_keys(kind):
        copied['download'] = False
    return copied


def try_evaluation(runner: Runner, model: Any, evaluation: Evaluation) -> None:
    """Pass the first and the last sample through the model and every metric; fills ``metrics``.

    Metrics that ask the model itself are handed it. They stay attached to these samples, until
    the evaluation itself attaches them to its own.

    Raises:
        ConfigError: If something does not fit.
    """
    where, loader, evaluator = evaluation.where, evaluation.loader, evaluation.evaluator
    rows = edge_rows(len(cast(Sized, loader.dataset)), SAMPLES)
    is_handed_over = any(isinstance(hook, HOOKS.get(HANDS_OVER)) for hook in runner.hooks)
    for metric in evaluator.metrics:
        if asks_model(metric) and is_handed_over:
            metric.attach(model, len(rows) * get_world_size())
    size = loader.batch_size or 1
    for part in (rows[start : start + size] for start in range(0, len(rows), size)):
        batch, data = read_batch(loader, part, model, f'{where}_dataloader', training=False)
        evaluation.inputs.append(data['inputs'])
        passing = naming(f'{where}_dataloader: images do not pass the model')
        with passing, autocast(enabled=evaluation.fp16):
            predicted = model.val_step(batch)
        with naming(f'{where}_evaluator'):
            try:
                evaluator.process(data_samples=predicted, data_batch=batch)
            except KeyError as error:
                if error.args[:1] not in {('gt_label',), ('gt_score',)}:
                    raise
                raise ConfigError(
                    f'{where}_dataloader.dataset: images have no labels, which '
                    f'{where}_evaluator needs: take data with labels, or set {where}_cfg, '
                    f'{where}_dataloader and {where}_evaluator to None'
                ) from error
    with naming(f'{where}_evaluator'):
        evaluation.metrics = evaluator.evaluate(len(rows) * get_world_size())


def asks_model(metric: BaseMetric) -> bool:
    """Whether a metric asks the model itself, so that it may find nothing in a few samples."""
    return hasattr(metric, 'attach')


def check_wanted(runner: Runner, evaluation: Evaluation) -> None:
    """Refuse best checkpoints, early stops and learning rates by metrics that nobody computes."""
    metrics = evaluation.metrics
    uncertain = {each.prefix for each in evaluation.evaluator.metrics if asks_model(each)}
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
