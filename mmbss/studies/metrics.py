"""Whether the metrics that a study speaks of will be there, before anything is trained."""

import copy
from collections.abc import Sequence
from typing import Any

import torch
from mmengine.config import Config
from mmengine.evaluator import BaseMetric
from mmengine.registry import DefaultScope
from mmpretrain.structures import DataSample

from mmbss.engine.build import build_checked
from mmbss.engine.config_checks.rules import setting, wrong_values
from mmbss.engine.errors import ConfigError, naming, problems_of, refuse
from mmbss.engine.trial.validation import asks_model
from mmbss.metrics.teacher_metric import TeacherMetric
from mmbss.registry import METRICS
from mmbss.teachers.classifiers import load_model_config
from mmbss.teachers.sources.load import kind_of


def build_metric(config: Any, where: str) -> BaseMetric:
    """Build a metric from its config.

    Raises:
        ConfigError: If it does not fit.
    """
    with DefaultScope.overwrite_default_scope('mmpretrain'), naming(where):
        return build_checked(METRICS, copy.deepcopy(config), where)


def check_metric(cfg: Config, name: str) -> None:
    """Refuse a metric that no validation of a training logs.

    The metrics are asked about one made-up sample. Of those that it does not do for, such as one
    that asks the model, the first part of the name counts.

    Raises:
        ConfigError: With the names that are known.
    """
    evaluators, loop = cfg.get('val_evaluator'), cfg.get('val_cfg')
    if evaluators is None or loop is None:
        raise ConfigError(f'metric={name!r} needs a validation: add val_cfg and val_evaluator')
    if loop.get('type', 'ValLoop') != 'ValLoop':
        return  # loops of other kinds do as they like
    known: list[str] = []
    listed = evaluators if isinstance(evaluators, list | tuple) else [evaluators]
    classes = setting(cfg, 'model.head.num_classes')
    for number, config in enumerate(listed):
        metric = build_metric(config, f'val_evaluator.{number}')
        known += names_of(metric, classes) or [f'{metric.prefix}/...']
    prefix = name.partition('/')[0]
    if not {name, f'{prefix}/...', 'None/...'} & {*known}:
        raise ConfigError(
            f'metric={name!r} is computed by no metric of val_evaluator: set it to one of '
            f'{", ".join(known)}'
        )


def names_of(metric: BaseMetric, classes: int | None) -> list[str]:
    """Names of what a metric computes of one made-up sample; none where it needs another."""
    if asks_model(metric):
        return []
    sample = DataSample().set_gt_label(0).set_pred_label(0)
    sample.set_pred_score(torch.eye(classes or 1000)[0])
    try:
        metric.process(None, [sample.to_dict()])
        return [*metric.evaluate(1)]
    except Exception:  # it may expect anything of a sample
        return []


def check_evaluators(configs: Sequence[Any]) -> None:
    """Refuse evaluators that could not be asked of a finished student, which has no teacher.

    Raises:
        ConfigError: With a line for each mistake.
    """
    wrong = wrong_values(Config(dict(test_evaluator=configs)))
    problems = [line.replace('test_evaluator', 'evaluators', 1) for line in wrong]
    for place, config in enumerate(configs):
        where = f'evaluators.{place}'
        found = problems_of(_check_teacher, config, where)
        problems += [line if line.startswith(where) else f'{where}: {line}' for line in found]
    refuse(problems)


def _check_teacher(config: Any, where: str) -> None:
    metric = build_metric(config, where)
    if not isinstance(metric, TeacherMetric):
        return
    if not isinstance(metric.given, dict):
        raise ConfigError(
            'a finished student has no teacher: give teacher=dict(config=..., checkpoint=...)'
        )
    network = metric.given['config']
    if isinstance(network, list) or kind_of(network)[0] != 'openmmlab':
        return
    model = load_model_config(network)
    fills_itself = model.get('pretrained') or 'ImageClassifier' not in str(model.get('type'))
    if metric.given.get('checkpoint') is None and not fills_itself:
        raise ConfigError(f"{where}.teacher: it lacks 'checkpoint', so its weights would be random")
