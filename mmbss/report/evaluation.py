"""Evaluate a teacher and its students with all metrics at once."""

import copy
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch
from mmengine.evaluator import BaseMetric, Evaluator
from mmengine.logging import print_log
from mmengine.registry import DefaultScope
from mmengine.runner import Runner
from mmpretrain.evaluation import Accuracy
from mmpretrain.models import BaseClassifier
from mmpretrain.structures import DataSample
from torch import Tensor, nn
from torch.utils.data import DataLoader, Subset

from mmbss.engine.build import check_keys
from mmbss.engine.errors import ConfigError
from mmbss.engine.fingerprint import file_digest
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
from mmbss.studies.classifiers import TEACHER, Network, load_classifier, on_device
from mmbss.teachers import Teacher

#: Finds the boundary samples that are compared, unless another attack is asked for.
BOUNDARY_ATTACK = dict(type='mmbss.BSSAttack', num_steps=10, step_size=0.3)
#: The same on a teacher that gives no gradient.
ATTACK_WITHOUT_GRADIENT = dict(type='mmbss.SegmentAttack')
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
    store: Callable[[dict[str, Any]], None] = lambda result: None,
) -> dict[str, Any]:
    """Measure accuracy, agreement, calibration, boundaries and robustness of networks.

    Args:
        teacher: ``config``, ``checkpoint`` and further arguments of a
            :class:`~mmbss.teachers.Teacher`.
        students: ``config`` (path, ``'package::...'`` or model dict) and ``checkpoint`` of each
            student, by name; at least one, and none is called ``teacher``. Those that have the
            same ``experiment`` are runs of one config, which tables average.
        dataloader: Config of the loader of the test samples.
        num_samples: How many of them, drawn from the seed, are attacked, walked from and
            corrupted; None for all. Accuracy, agreement and calibration are always those of the
            whole test set.
        seed: Of all that is drawn.
        attack: Attack that finds the boundary samples that are compared, by default
            ``BOUNDARY_ATTACK``, and ``ATTACK_WITHOUT_GRADIENT`` on a teacher without gradient.
        attacks: Attacks of the robust accuracy by name, by default ``ROBUSTNESS_ATTACKS``.
        autoattack_samples: How many samples AutoAttack gets, which takes minutes for a hundred;
            0 leaves it out.
        store: Gets what there is after each network.

    Returns:
        ``settings``: the arguments; ``networks``: for each network, the teacher first as a
        student of its own, what it was given as, its ``name``, the ``digest`` of its checkpoint
        and its ``metrics``, numbers by the name they have in the log of a validation. What cannot
        be measured is left out, such as the similarity of boundaries where student and teacher
        classify no sample correctly both, and all that needs a gradient which the teacher does not
        give.

    Raises:
        ConfigError: If a file is missing, a checkpoint does not fit, the classes differ, or
            AutoAttack is asked for and not installed.
    """
    called = {name for key, own in students.items() for name in (key, own.get('experiment'))}
    if TEACHER in called or not students:
        raise ConfigError('students: name one or more, none of them "teacher"')
    check_keys(teacher, Teacher, 'teacher', supplied=('student_preprocessor',))
    attacks = ROBUSTNESS_ATTACKS if attacks is None else attacks
    drawn: dict[str, Any] = dict(num_samples=num_samples, seed=seed)
    slow = []
    if autoattack_samples:
        few = dict(num_samples=autoattack_samples, seed=seed, prefix='autoattack')
        slow = [RobustAccuracy(AUTOATTACK, **few)]
    with DefaultScope.overwrite_default_scope('mmpretrain'):
        loader = Runner.build_dataloader(copy.deepcopy(dataloader), seed=seed)
        size = len(loader.dataset)
        classes = (getattr(loader.dataset, 'metainfo', None) or {}).get('classes')
        models = {
            name: load_classifier(network, name, classes) for name, network in students.items()
        }
        preprocessor = next(iter(models.values())).data_preprocessor
        asked = AskedTeacher(Teacher(**teacher, student_preprocessor=preprocessor), preprocessor)
        if attack is None:
            attack = BOUNDARY_ATTACK if asked.teacher.differentiable else ATTACK_WITHOUT_GRADIENT
        models, metrics = {TEACHER: on_device(asked), **models}, {}
        for name, model in models.items():
            guide = Teacher(**teacher, student_preprocessor=model.data_preprocessor)
            metrics[name] = [
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
            if not guide.differentiable:
                metrics[name] = [
                    each for each in metrics[name] if not needs_gradient(each, model is asked)
                ]
            for each in metrics[name]:
                each.dataset_meta = getattr(loader.dataset, 'metainfo', None)
            attach_metrics(metrics[name], model, size)  # what does not fit is seen before all
    settings = dict(
        drawn,
        attack=attack,
        attacks=attacks,
        autoattack_samples=autoattack_samples,
        dataset_size=size,
    )
    rows = list[dict[str, Any]]()
    result = dict(settings=settings, networks=rows)
    for name, model in models.items():
        values = evaluate_model(model, metrics[name], loader)
        if slow and (model is not asked or asked.teacher.differentiable):
            values |= evaluate_model(model, slow, few_samples(loader, autoattack_samples, seed))
        network = students.get(name) or teacher
        digest = digest_of_weights(network)
        rows.append(dict(name=name, **network, digest=digest, metrics=values))
        store(result)
        print_log(f'measured {name}, {len(rows)} of {len(models)}', logger='current')
    return result


def digest_of_weights(network: Mapping[str, Any]) -> str | None:
    """What tells the checkpoint of a network from others; None where it is no file."""
    path = Path(str(network.get('checkpoint')))
    return file_digest(path) if path.is_file() else None


def needs_gradient(metric: BaseMetric, of_teacher: bool) -> bool:
    """Whether a metric asks a teacher for a gradient, here or where it is measured itself."""
    if isinstance(metric, RobustAccuracy):
        return of_teacher and any(each.needs_gradient for each in metric.attacks.values())
    if isinstance(metric, BoundarySimilarity):
        # samples toward partners of its own say nothing of a network beside another one
        return metric.attack.needs_gradient or metric.attack.needs_partners
    attack = getattr(metric, 'attack', None)
    return getattr(attack, 'needs_gradient', isinstance(metric, TransitionError) and of_teacher)


def few_samples(loader: DataLoader, count: int, seed: int) -> DataLoader:
    """Loader of so many samples in one batch, which is faster for attacks of many steps."""
    dataset: Any = loader.dataset
    generator = torch.Generator().manual_seed(seed)
    rows = torch.randperm(len(dataset), generator=generator)[:count].tolist()
    return DataLoader(Subset(dataset, rows), count, collate_fn=loader.collate_fn)


def evaluate_model(
    model: BaseClassifier, metrics: list[BaseMetric], loader: DataLoader
) -> dict[str, float]:
    """Evaluate a model outside of a runner; those metrics that ask the model itself are handed it.

    The model keeps its mode and gradients.
    """
    dataset: Any = loader.dataset
    attach_metrics(metrics, model, len(dataset))
    evaluator = Evaluator(metrics)
    evaluator.dataset_meta = getattr(dataset, 'metainfo', None)
    with torch.no_grad(), evaluation_mode(model):
        for batch in loader:
            evaluator.process(data_samples=model.val_step(batch), data_batch=batch)
    return evaluator.evaluate(len(dataset))


class AskedTeacher(BaseClassifier):
    """A teacher of any kind as a classifier, so that it is measured as its students are.

    It answers images as they are prepared for a student of the teacher.

    Args:
        teacher: Who is asked.
        data_preprocessor: That of the student for whom the teacher was built.
    """

    def __init__(self, teacher: Teacher, data_preprocessor: nn.Module) -> None:
        super().__init__(data_preprocessor=data_preprocessor)
        self.teacher = teacher
        self.num_classes = teacher.num_classes

    def forward(
        self, inputs: Tensor, data_samples: list[DataSample] | None = None, mode: str = 'tensor'
    ) -> Any:
        """(N, K) logits, or with ``mode='predict'`` the samples with their predictions."""
        logits = self.teacher.logits(self.teacher.from_student(inputs))
        if mode == 'tensor':
            return logits
        samples = data_samples or [DataSample() for _ in logits]
        for sample, scores in zip(samples, logits.float().softmax(dim=1), strict=True):
            sample.set_pred_score(scores).set_pred_label(scores.argmax().unsqueeze(0))
        return samples

    def extract_feat(self, inputs: Tensor) -> Tensor:
        """Its logits, for want of features that every teacher has."""
        return self(inputs)
