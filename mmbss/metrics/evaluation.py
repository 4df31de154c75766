"""Evaluate a teacher and its students with all metrics at once."""

import copy
from pathlib import Path
from typing import Any

import torch
from mmengine.evaluator import BaseMetric, Evaluator
from mmengine.registry import DefaultScope
from mmengine.runner import Runner
from mmpretrain.evaluation import Accuracy
from mmpretrain.models import ImageClassifier
from torch.utils.data import DataLoader

from mmbss.distillers import Teacher
from mmbss.distillers.classifiers import load_model_config
from mmbss.files import read_checkpoint
from mmbss.metrics.agreement import Agreement
from mmbss.metrics.boundary_distance import BoundaryDistance
from mmbss.metrics.boundary_similarity import BoundarySimilarity
from mmbss.metrics.calibration import CalibrationError
from mmbss.metrics.model_metric import attach_metrics, evaluation_mode
from mmbss.metrics.robust_accuracy import RobustAccuracy
from mmbss.registry import MODELS

#: A config and a checkpoint, by these keys.
Network = dict[str, Any]

#: Finds the boundary samples that are compared, unless another attack is asked for.
BOUNDARY_ATTACK = dict(type='mmbss.BSSAttack', num_steps=10, step_size=0.3)
#: Attacks of the robust accuracy, unless others are asked for; radii in pixels.
ROBUSTNESS_ATTACKS: dict[str, dict[str, Any]] = dict(
    fgsm_1=dict(type='mmbss.FGSMAttack', radius=1.0),
    fgsm_2=dict(type='mmbss.FGSMAttack', radius=2.0),
    pgd_1=dict(type='mmbss.PGDAttack', radius=1.0, step_size=0.25, num_steps=20),
    pgd_2=dict(type='mmbss.PGDAttack', radius=2.0, step_size=0.5, num_steps=20),
)


def evaluate_networks(
    teacher: Network,
    students: dict[str, Network],
    dataloader: dict[str, Any],
    num_samples: int | None = 1000,
    seed: int = 0,
    attack: dict[str, Any] | None = None,
    attacks: dict[str, dict[str, Any]] | None = None,
) -> dict[str, Any]:
    """Measure accuracy, agreement, calibration, boundary and robustness of networks.

    Args:
        teacher: ``config`` (path, ``'package::...'`` or model dict) and ``checkpoint``.
        students: The same for each student, by name; none is called ``teacher``.
        dataloader: Config of the loader of the test samples.
        num_samples: How many of them, drawn from the seed, are attacked; None for all. Accuracy,
            agreement and calibration are always those of the whole test set.
        seed: Of all that is drawn.
        attack: Attack that finds the boundary samples, by default ``BOUNDARY_ATTACK``.
        attacks: Attacks of the robust accuracy by name, by default ``ROBUSTNESS_ATTACKS``.

    Returns:
        ``settings``: the arguments; ``networks``: for each network, the teacher first as a
        student of its own, ``name``, ``config``, ``checkpoint`` and ``metrics``, numbers by the
        name they have in the log of a validation.

    Raises:
        FileNotFoundError: If a config or a checkpoint does not exist.
        ValueError: If a checkpoint does not fit, the classes differ, or a student and the
            teacher classify no sample correctly both.
    """
    if 'teacher' in students:
        raise ValueError('students: "teacher" is the name of the teacher itself, give another one')
    attack, attacks = attack or BOUNDARY_ATTACK, attacks or ROBUSTNESS_ATTACKS
    drawn: dict[str, Any] = dict(num_samples=num_samples, seed=seed)
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
                RobustAccuracy(attacks=attacks, **drawn),
            ]
            attach_metrics(metrics, model, dataset_size)
            runs.append((dict(name=name, **network), model, metrics))
    rows = []
    for row, model, metrics in runs:
        values = evaluate_model(model, metrics, loader)
        if not values['boundary_similarity/pairs']:
            raise ValueError(
                f'{row["name"]}: of {values["boundary_similarity/pairs_tried"]} samples that it '
                'and the teacher classify correctly, none was moved onto the boundary of both: '
                'evaluate trained networks, on more samples'
            )
        rows.append(dict(row, metrics=values))
    settings = dict(drawn, attack=attack, attacks=attacks, dataset_size=dataset_size)
    return dict(settings=settings, networks=rows)


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


def load_classifier(network: Network, name: str) -> ImageClassifier:
    """Build the plain classifier of a config, in eval mode, on a GPU if there is one.

    Raises:
        FileNotFoundError: If the config or the checkpoint does not exist.
        ValueError: If the checkpoint does not fit.
    """
    config, checkpoint = network['config'], network['checkpoint']
    if not Path(checkpoint).is_file():
        raise FileNotFoundError(f'{name}: no checkpoint {str(checkpoint)!r}')
    with DefaultScope.overwrite_default_scope('mmpretrain'):
        model = MODELS.build(copy.deepcopy(load_model_config(config)))
    content = read_checkpoint(checkpoint)
    try:
        model.load_state_dict(content.get('state_dict', content))
    except (AttributeError, RuntimeError, TypeError) as error:
        raise ValueError(f'{name}: {checkpoint} does not fit {config}: {error}') from error
    return model.to('cuda' if torch.cuda.is_available() else 'cpu').eval()


def markdown_table(result: dict[str, Any]) -> str:
    """Table in Markdown of what :func:`evaluate_networks` returns, one line a network."""
    attacks = [f'robust_accuracy/{name}' for name in result['settings']['attacks']]
    names = [name.removeprefix('robust_accuracy/') for name in attacks]
    head = ['network', 'accuracy', 'agreement', 'KL', 'agreement at boundary', 'KL at boundary']
    head += ['ECE', 'MagSim', 'AngSim', 'pairs', *names, 'distance', "teacher's distance"]
    lines = [_line(head), _line(['---'] + ['---:'] * (len(head) - 1))]
    for network in result['networks']:
        values = network['metrics']
        cells = [
            ('accuracy/top1', '.2f'),
            ('agreement/top1', '.2f'),
            ('agreement/kl', '.3f'),
            ('boundary_agreement/top1', '.2f'),
            ('boundary_agreement/kl', '.3f'),
            ('calibration/ece', '.2f'),
            ('boundary_similarity/mag_sim', '.3f'),
            ('boundary_similarity/ang_sim', '.3f'),
            ('boundary_similarity/pairs', 'd'),
            *((name, '.1f') for name in attacks),
            ('boundary_distance/student', '.4f'),
            ('boundary_distance/teacher', '.4f'),
        ]
        lines.append(
            _line(
                [network['name']]
                + [f'{values[key]:{form}}' if key in values else '' for key, form in cells]
            )
        )
    return '\n'.join(lines) + '\n'


def _line(cells: list[str]) -> str:
    return f'| {" | ".join(cells)} |'
