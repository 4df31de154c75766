"""Evaluate a teacher and its students with all metrics at once."""

import copy
from typing import Any

import torch
from mmengine.evaluator import BaseMetric, Evaluator
from mmengine.logging import print_log
from mmengine.registry import DefaultScope
from mmengine.runner import Runner
from mmpretrain.evaluation import Accuracy
from mmpretrain.models import ImageClassifier
from torch.utils.data import DataLoader, Subset

from mmbss.distillers import Teacher
from mmbss.engine.errors import ConfigError
from mmbss.engine.models import evaluation_mode
from mmbss.metrics.agreement import Agreement
from mmbss.metrics.boundary_distance import BoundaryDistance
from mmbss.metrics.boundary_similarity import BoundarySimilarity
from mmbss.metrics.boundary_visibility import BoundaryVisibility
from mmbss.metrics.calibration import CalibrationError
from mmbss.metrics.corruption_accuracy import CorruptionAccuracy
from mmbss.metrics.model_metric import attach_metrics
from mmbss.metrics.robust_accuracy import RobustAccuracy
from mmbss.metrics.transition_error import TransitionError
from mmbss.report.classifiers import Network, load_classifier

#: Finds the boundary samples that are compared, unless another attack is asked for.
BOUNDARY_ATTACK = dict(type='mmbss.BSSAttack', num_steps=10, step_size=0.3)
#: Attacks of the robust accuracy, unless others are asked for; radii in pixels.
ROBUSTNESS_ATTACKS: dict[str, dict[str, Any]] = dict(
    fgsm_1=dict(type='mmbss.FGSMAttack', radius=1.0),
    fgsm_2=dict(type='mmbss.FGSMAttack', radius=2.0),
    pgd_1=dict(type='mmbss.PGDAttack', radius=1.0, step_size=0.25, num_steps=20),
    pgd_2=dict(type='mmbss.PGDAttack', radius=2.0, step_size=0.5, num_steps=20),
)
#: AutoAttack, which takes too long for as many samples.
AUTOATTACK: dict[str, dict[str, Any]] = dict(
    radius_1=dict(type='mmbss.LibraryAttack', library='autoattack', name='standard', radius=1.0)
)


def evaluate_networks(
    teacher: Network,
    students: dict[str, Network],
    dataloader: dict[str, Any],
    num_samples: int | None = 1000,
    seed: int = 0,
    attack: dict[str, Any] | None = None,
    attacks: dict[str, dict[str, Any]] | None = None,
    autoattack_samples: int = 0,
) -> dict[str, Any]:
    """Measure accuracy, agreement, calibration, boundaries and robustness of networks.

    Args:
        teacher: ``config`` (path, ``'package::...'`` or model dict) and ``checkpoint``.
        students: The same for each student, by name; none is called ``teacher``. Those that
            have the same ``experiment`` are runs of one config, which tables average.
        dataloader: Config of the loader of the test samples.
        num_samples: How many of them, drawn from the seed, are attacked, walked from and
            corrupted; None for all. Accuracy, agreement and calibration are always those of the
            whole test set.
        seed: Of all that is drawn.
        attack: Attack that finds the boundary samples that are compared, by default
            ``BOUNDARY_ATTACK``.
        attacks: Attacks of the robust accuracy by name, by default ``ROBUSTNESS_ATTACKS``.
        autoattack_samples: How many samples AutoAttack gets, which takes minutes for a hundred;
            0 leaves it out.

    Returns:
        ``settings``: the arguments; ``networks``: for each network, the teacher first as a
        student of its own, what it was given as, its ``name`` and its ``metrics``, numbers by the
        name they have in the log of a validation. What cannot be measured is left out, such as
        the similarity of boundaries where student and teacher classify no sample correctly both.

    Raises:
        MissingFileError: If a config or a checkpoint does not exist.
        ConfigError: If AutoAttack is asked for and not installed.
        ConfigError: If a checkpoint does not fit, or the classes differ.
    """
    if 'teacher' in students:
        raise ConfigError('students: "teacher" is the name of the teacher itself, give another one')
    attack, attacks = attack or BOUNDARY_ATTACK, attacks or ROBUSTNESS_ATTACKS
    drawn: dict[str, Any] = dict(num_samples=num_samples, seed=seed)
    slow: list[BaseMetric] = []
    if autoattack_samples:
        few = dict(num_samples=autoattack_samples, seed=seed, prefix='autoattack')
        slow.append(RobustAccuracy(AUTOATTACK, **few))
    with DefaultScope.overwrite_default_scope('mmpretrain'):
        loader = Runner.build_dataloader(copy.deepcopy(dataloader), seed=seed)
        dataset_size = len(loader.dataset)
        runs: list[tuple[dict[str, Any], ImageClassifier, list[BaseMetric]]] = []
        for name, network in {'teacher': teacher, **students}.items():
            model = load_classifier(network, name)
            guide = Teacher(**teacher, student_preprocessor=model.data_preprocessor)
            metrics = [
                Accuracy(topk=(1,)),
                Agreement(teacher=guide),
                CalibrationError(),
                Agreement(attack=attack, teacher=guide, **drawn),
                BoundarySimilarity(attack=attack, teacher=guide, per_class=True, **drawn),
                BoundaryDistance(teacher=guide, **drawn),
                BoundaryVisibility(teacher=guide, **drawn),
                TransitionError(teacher=guide, **drawn),
                CorruptionAccuracy(**drawn),
                RobustAccuracy(attacks=attacks, **drawn),
            ]
            attach_metrics(metrics, model, dataset_size)
            runs.append((dict(name=name, **network), model, metrics))
    rows = []
    for row, model, metrics in runs:
        values = evaluate_model(model, metrics, loader)
        if slow:
            values |= evaluate_model(model, slow, few_samples(loader, autoattack_samples, seed))
        rows.append(dict(row, metrics=values))
        print_log(f'measured {row["name"]}, {len(rows)} of {len(runs)}', logger='current')
    settings = dict(
        drawn,
        attack=attack,
        attacks=attacks,
        autoattack_samples=autoattack_samples,
        dataset_size=dataset_size,
    )
    return dict(settings=settings, networks=rows)


def few_samples(loader: DataLoader, count: int, seed: int) -> DataLoader:
    """Loader of so many samples in one batch, which is faster for attacks of many steps."""
    dataset: Any = loader.dataset
    generator = torch.Generator().manual_seed(seed)
    rows = torch.randperm(len(dataset), generator=generator)[:count].tolist()
    return DataLoader(Subset(dataset, rows), count, collate_fn=loader.collate_fn)


def evaluate_model(
    model: ImageClassifier, metrics: list[BaseMetric], loader: DataLoader
) -> dict[str, float]:
    """Evaluate a model outside of a runner, with metrics of mmengine's kind.

    Args:
        model: A classifier with its data preprocessor; it keeps its mode and gradients.
        metrics: Those that ask the model itself are handed it.
        loader: The samples.

    Returns:
        Numbers by name.
    """
    dataset: Any = loader.dataset
    attach_metrics(metrics, model, len(dataset))
    evaluator = Evaluator(metrics)
    evaluator.dataset_meta = getattr(dataset, 'metainfo', None)
    with torch.no_grad(), evaluation_mode(model):
        for batch in loader:
            evaluator.process(data_samples=model.val_step(batch), data_batch=batch)
    return evaluator.evaluate(len(dataset))
