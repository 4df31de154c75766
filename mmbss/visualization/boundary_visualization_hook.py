"""Pictures of boundary samples while a distiller trains."""

from typing import Any

import torch
from mmengine.dataset import pseudo_collate
from mmengine.dist import is_main_process
from mmengine.hooks import Hook
from mmengine.model import is_model_wrapper
from mmengine.runner import Runner

from mmbss.attacks import BSSAttack
from mmbss.distillers import BSSDistiller, Distiller
from mmbss.distillers.distiller import class_labels
from mmbss.engine.errors import ConfigError
from mmbss.metrics.model_metric import evaluation_mode, own_random_numbers
from mmbss.registry import HOOKS
from mmbss.visualization.boundary_pairs import find_boundary_pairs
from mmbss.visualization.draw_samples import draw_boundary_samples
from mmbss.visualization.style import to_rgb


@HOOKS.register_module()
class BoundaryVisualizationHook(Hook):
    """Draws boundary samples of the teacher, and what teacher and student say of them.

    The samples are validation images that the teacher classifies correctly, of classes that take
    turns, moved toward the most probable wrong class by the attack of the training. They are
    found once, before training, and stay the same, so the pictures show how the student comes to
    answer them. Each goes to the back ends of the runner's visualizer as ``boundary_samples``,
    with the number of epochs as its step. Training is as it would be without this hook.

    Args:
        interval: Epochs between two pictures; the last epoch is always drawn.
        num_samples: Samples in a picture, at most.
        num_candidates: Validation images among which they are sought.

    Raises:
        ValueError: If an argument is not positive, and before training if the model is no
            distiller, there is no validation set or back end, or no sample can be moved.
    """

    priority = 'LOW'

    def __init__(self, interval: int = 10, num_samples: int = 4, num_candidates: int = 256) -> None:
        for name, value in dict(
            interval=interval, num_samples=num_samples, num_candidates=num_candidates
        ).items():
            if value < 1:
                raise ConfigError(
                    f'BoundaryVisualizationHook: {name} must be at least 1, got {value}'
                )
        self.interval = interval
        self.num_samples = num_samples
        self.num_candidates = num_candidates

    def before_train(self, runner: Runner) -> None:
        """Find the samples."""
        model = runner.model.module if is_model_wrapper(runner.model) else runner.model
        if not isinstance(model, Distiller):
            raise ConfigError(
                'BoundaryVisualizationHook draws the boundary of a teacher, but the model is a '
                f'{type(model).__name__}: use mmbss.Distiller or mmbss.BSSDistiller'
            )
        if runner.val_loop is None:
            raise ConfigError(
                'BoundaryVisualizationHook needs a val_dataloader to take images from'
            )
        if not runner.visualizer._vis_backends:
            raise ConfigError(
                'BoundaryVisualizationHook: the visualizer has no back end to draw to: set '
                "visualizer.vis_backends=[dict(type='LocalVisBackend')]"
            )
        dataset = runner.val_loop.dataloader.dataset
        count = min(self.num_candidates, len(dataset))
        rows = [dataset[row] for row in torch.linspace(0, len(dataset) - 1, count).int().tolist()]
        with evaluation_mode(model):
            data = model.data_preprocessor(pseudo_collate(rows), False)
        samples = model.teacher.from_student(data['inputs']).float()
        attack = model.attack if isinstance(model, BSSDistiller) else BSSAttack()
        # what an attack draws at random is not to change the training
        with own_random_numbers(samples, seed=0):
            self.pairs = find_boundary_pairs(
                model.teacher.logits,
                samples,
                class_labels(data['data_samples']),
                attack,
                model.teacher.pixel_bounds,
            )[: self.num_samples]
        names = (getattr(dataset, 'metainfo', None) or {}).get('classes')
        count = model.teacher.logits(samples[:1]).shape[1]
        self.classes = list(names or map(str, range(count)))

    def after_train_epoch(self, runner: Runner) -> None:
        """Draw."""
        epoch = runner.epoch + 1
        if not is_main_process() or (epoch % self.interval and epoch != runner.max_epochs):
            return
        model: Any = runner.model.module if is_model_wrapper(runner.model) else runner.model
        teacher = model.teacher
        networks = dict(
            teacher=teacher.logits,
            student=lambda images: model(teacher.to_student(images), mode='tensor'),
        )
        with evaluation_mode(model):
            figure = draw_boundary_samples(self.pairs, networks, teacher.pixel_bounds, self.classes)
        runner.visualizer.add_image('boundary_samples', to_rgb(figure), step=epoch)
