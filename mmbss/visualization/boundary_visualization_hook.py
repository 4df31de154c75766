"""Pictures of boundary samples while a distiller trains."""

from mmengine.dataset import pseudo_collate
from mmengine.dist import is_main_process
from mmengine.hooks import Hook
from mmengine.runner import Runner

from mmbss.attacks import BSSAttack
from mmbss.boundary import BoundaryLoss
from mmbss.boundary.search_checks import check_gradient
from mmbss.datasets.subsets import spread_rows
from mmbss.distillers.data_samples import class_labels
from mmbss.distillers.of_runner import distiller_of
from mmbss.engine.errors import ConfigError
from mmbss.engine.extras import named_extra
from mmbss.engine.models import evaluation_mode, unwrap
from mmbss.engine.randomness import own_randomness
from mmbss.engine.ranges import check_at_least
from mmbss.registry import HOOKS
from mmbss.visualization.boundary_pairs import find_boundary_pairs


@HOOKS.register_module()
class BoundaryVisualizationHook(Hook):
    """Draws boundary samples of the teacher, and what teacher and student say of them.

    The samples are validation images that the teacher classifies correctly, of classes that take
    turns, moved toward the most probable wrong class by the attack of the first boundary term.
    They are found once, before training, and stay the same, so the pictures show how the student
    comes to answer them. Each goes to the back ends of the runner's visualizer as
    ``boundary_samples``, with the number of epochs as its step. Training is as it would be
    without this hook.

    Args:
        interval: Epochs between two pictures; the last epoch is always drawn.
        num_samples: Samples in a picture, at most.
        num_candidates: Validation images among which they are sought.

    Raises:
        ConfigError: If an argument is not positive, and before training if the model is no
            distiller, there is no validation set or back end, or no sample can be moved.
    """

    priority = 'LOW'

    def __init__(self, interval: int = 10, num_samples: int = 4, num_candidates: int = 256) -> None:
        numbers = dict(interval=interval, num_samples=num_samples, num_candidates=num_candidates)
        check_at_least(self, 1, **numbers)
        self.interval = interval
        self.num_samples = num_samples
        self.num_candidates = num_candidates

    def before_train(self, runner: Runner) -> None:
        """Find the samples."""
        with named_extra():  # now, not at the first picture
            from mmbss.visualization import draw_samples  # noqa: F401
        model = distiller_of(runner, 'BoundaryVisualizationHook')
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
        rows = [dataset[row] for row in spread_rows(len(dataset), self.num_candidates)]
        with evaluation_mode(model):
            data = model.data_preprocessor(pseudo_collate(rows), False)
        samples = model.teacher.from_student(data['inputs']).float()
        boundaries = [term for term in model.terms.all().values() if isinstance(term, BoundaryLoss)]
        attack = boundaries[0].attack if boundaries else BSSAttack()
        check_gradient(attack, model.teacher.differentiable, type(self).__name__)
        # what an attack draws at random is not to change the training
        with own_randomness(0):
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
        # matplotlib is loaded by those who draw alone
        from mmbss.visualization.draw_samples import draw_boundary_samples
        from mmbss.visualization.style import to_rgb

        epoch = runner.epoch + 1
        if not is_main_process() or (epoch % self.interval and epoch != runner.max_epochs):
            return
        model = unwrap(runner.model)
        teacher = model.teacher
        networks = dict(
            teacher=teacher.logits,
            student=lambda images: model(teacher.to_student(images), mode='tensor'),
        )
        with evaluation_mode(model):
            figure = draw_boundary_samples(self.pairs, networks, teacher.pixel_bounds, self.classes)
        runner.visualizer.add_image('boundary_samples', to_rgb(figure), step=epoch)
