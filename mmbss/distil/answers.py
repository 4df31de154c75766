"""What students and their teacher decide for the images of a split."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from mmengine.config import Config
from mmengine.registry import DefaultScope
from mmengine.runner import Runner

from mmbss.distil.choose import Answers
from mmbss.distillers.data_samples import class_labels
from mmbss.studies.classifiers import Network, load_classifier
from mmbss.teachers import Teacher


@torch.no_grad()
def ask(
    config: Config, split: str, students: Mapping[str, Network], teacher: dict[str, Any]
) -> tuple[dict[str, Answers], Answers]:
    """The answers of students, at least one, and of the teacher as they saw it in training.

    Args:
        config: A whole config, whose images of the split are read.
        split: ``val`` or ``test``.
        students: Config and checkpoint of each.
        teacher: Arguments of a :class:`~mmbss.teachers.Teacher`.
    """
    with DefaultScope.overwrite_default_scope('mmpretrain'):
        loader = Runner.build_dataloader(dict(config[f'{split}_dataloader'], num_workers=0), seed=0)
        models = {name: load_classifier(network, name) for name, network in students.items()}
        first = next(iter(models.values()))
        guide = Teacher(**teacher, student_preprocessor=first.data_preprocessor)
        guide.to(next(first.parameters()).device)
    decisions: dict[str, list[np.ndarray]] = {name: [] for name in [*models, '']}
    labels = []
    for batch in loader:
        data = first.data_preprocessor(batch, False)
        labels.append(class_labels(data['data_samples']).cpu().numpy())
        for name, model in models.items():
            inputs = model.data_preprocessor(batch, False)['inputs']  # each as it was trained
            logits = model(inputs, mode='tensor')
            decisions[name].append(logits.argmax(1).cpu().numpy())
        decisions[''].append(guide(data['inputs']).argmax(1).cpu().numpy())
    right = np.concatenate(labels)
    answers = {name: Answers(np.concatenate(own), right) for name, own in decisions.items()}
    return {name: answers[name] for name in models}, answers['']
