"""Metrics that ask the model itself, and the hook that hands it to them."""

import logging
import operator
from abc import abstractmethod
from collections.abc import Iterable, Sequence
from contextlib import ExitStack
from typing import Any

import torch
from mmengine.dist import get_dist_info
from mmengine.evaluator import BaseMetric
from mmengine.hooks import Hook
from mmengine.logging import print_log
from mmengine.model import BaseTTAModel
from mmengine.runner import Runner, TestLoop, ValLoop
from mmpretrain.models import BaseClassifier
from torch import Tensor, nn

from mmbss.attacks import Attack
from mmbss.boundary.attack_checks import rehearsed
from mmbss.distillers.data_samples import class_labels
from mmbss.engine.errors import ConfigError, first_of
from mmbss.engine.models import evaluation_mode, gradients_aside, unwrap
from mmbss.engine.pixel_range import check_pixels
from mmbss.engine.randomness import own_randomness
from mmbss.engine.ranges import check_at_least
from mmbss.registry import HOOKS
from mmbss.teachers.classifiers import check_single_label_logits
from mmbss.teachers.normalisation import pixel_bounds


class ModelMetric(BaseMetric):
    """A metric that puts questions of its own to the model, such as how it takes an attack.

    mmengine gives a metric the predictions alone, so :class:`ModelMetricHook` has to hand over
    the model. The model's mode, gradients and weights and the random numbers of the training are
    left as they were.

    Which samples are measured, and which random number each gets, is drawn from the seed by a
    sample's place in the dataset. So results depend neither on the batch size nor on the number
    of processes, except for attacks that draw random numbers of their own.

    Subclasses name their values in ``fields`` and implement :meth:`measure` and
    :meth:`summarise`, which is not asked where ``nothing`` says what no sample means.

    Args:
        num_samples: How many samples of the dataset to draw; None takes all.
        seed: Of all that is drawn.
        **kwargs: ``prefix``, ``collect_device`` and ``collect_dir`` of mmengine's ``BaseMetric``.

    Raises:
        ConfigError: If ``num_samples`` is not positive, and during evaluation if nobody has
            handed over the model.
    """

    #: Names of the values that are kept of each sample.
    fields: tuple[str, ...]
    #: What a warning says where there is no sample; then their number, 0, is the only result.
    nothing = ''
    #: Whether something is measured in pixels of [0, 255], as the model's normalisation has them.
    in_pixels = False

    def __init__(self, num_samples: int | None = None, seed: int = 0, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        check_at_least(self, 1, num_samples=num_samples)
        self.num_samples = num_samples
        try:
            self.seed = operator.index(seed)
        except TypeError:
            raise ConfigError(f'{type(self).__name__}: seed must be int, got {seed!r}') from None
        self.model: BaseClassifier | None = None
        self.num_seen, self.has_measured = 0, False

    def attach(self, model: nn.Module, dataset_size: int) -> None:
        """Take the model to evaluate.

        Args:
            model: A classifier, possibly wrapped for several processes.
            dataset_size: Number of samples of the whole dataset.

        Raises:
            ConfigError: If the model has no logits.
        """
        unwrapped = unwrap(model)
        if isinstance(unwrapped, BaseTTAModel):
            raise ConfigError(
                f'{type(self).__name__} asks the model about images as they are: leave out --tta'
            )
        check_single_label_logits(unwrapped, 'student')
        self.model = unwrapped
        generator = torch.Generator().manual_seed(self.seed)
        drawn = torch.randperm(dataset_size, generator=generator)[: self.num_samples]
        self.chosen = torch.zeros(dataset_size, dtype=torch.bool)
        self.chosen[drawn] = True
        self.uniforms = torch.rand(dataset_size, generator=generator)
        self.num_seen, self.has_measured = 0, False

    def logits(self, inputs: Tensor) -> Tensor:
        """(N, K) float32 logits of the model on (N, C, H, W) inputs in its own normalisation."""
        assert self.model is not None
        return self.model(inputs, mode='tensor').float()

    def process(self, data_batch: Any, data_samples: Sequence[dict]) -> None:
        """Measure those samples of a batch that were drawn."""
        if self.model is None:
            raise ConfigError(
                f'{type(self).__name__} asks the model itself, but nobody has handed it over: add '
                "model_metrics=dict(type='mmbss.ModelMetricHook') to default_hooks"
            )
        places = self.next_places(len(data_samples))
        # beyond the end lie repeated samples, so that each process gets as many
        drawn = (places < len(self.chosen)) & self.chosen[places % len(self.chosen)]
        records: list[list[float] | None] = [None] * len(data_samples)
        if drawn.any():
            data = self.model.data_preprocessor(data_batch, training=False)
            inputs, labels = data['inputs'], class_labels(data['data_samples'])
            rows = drawn.to(inputs.device)
            seed = self.seed + int(places[0])
            with (
                torch.no_grad(),
                evaluation_mode(self.model),
                gradients_aside(self.model),
                own_randomness(seed),
                ExitStack() as rehearsal,
            ):
                if not self.has_measured:
                    self.check_images(inputs)
                    self.has_measured = True
                    for attack in attacks_of(self):
                        rehearsal.enter_context(rehearsed(attack, type(self).__name__))
                measured, values = self.measure(
                    inputs[rows], labels[rows], self.uniforms[places[drawn]].to(inputs.device)
                )
            self.check_measured(measured, values, int(drawn.sum()))
            if measured.any():
                columns = [values[name].cpu().double() for name in self.fields]
                kept = drawn.nonzero().squeeze(1)[measured.cpu()]
                for row, record in zip(kept, torch.stack(columns, dim=1).tolist(), strict=True):
                    records[row] = record
        self.results.extend(records)

    def check_measured(self, measured: Tensor, values: dict[str, Tensor], count: int) -> None:
        """Refuse what :meth:`measure` returns of ``count`` samples, if it is of another form.

        Raises:
            ConfigError: With what it must return.
        """
        kind = type(self).__name__
        if measured.dtype is not torch.bool or measured.shape != (count,):
            raise ConfigError(
                f'{kind}.measure must say of which samples it is about in a bool tensor of shape '
                f'({count},), got {measured.dtype} of {tuple(measured.shape)}'
            )
        found = int(measured.sum())
        wrong = [
            name
            for name in self.fields
            if found and (name not in values or values[name].shape != (found,))
        ]
        if wrong:
            raise ConfigError(
                f'{kind}.measure must return of each of its fields the {found} values of the '
                f'samples that it is about: correct {first_of(wrong)}'
            )

    def check_images(self, inputs: Tensor) -> None:
        """Refuse the first (N, C, H, W) images, as the model gets them, if they are not in pixels.

        Raises:
            ConfigError: With the pixels.
        """
        if self.in_pixels:
            assert self.model is not None
            bounds = pixel_bounds(self.model.data_preprocessor, inputs.device)
            check_pixels(inputs, bounds, type(self).__name__)

    def next_places(self, count: int) -> Tensor:
        """(N,) int64 places in the dataset of the next N samples of this process."""
        rank, world_size = get_dist_info()
        order = torch.arange(self.num_seen, self.num_seen + count)
        self.num_seen += count
        # the processes take turns, as mmengine's DefaultSampler deals and collect_results joins
        return order * world_size + rank

    def compute_metrics(self, results: list[list[float] | None]) -> dict[str, float]:
        """Summarise the samples of all processes."""
        records = [record for record in results if record is not None]
        if self.nothing and not records:
            self.warn(self.nothing)
            return dict(samples=0)
        columns = torch.tensor(records, dtype=torch.float64).view(-1, len(self.fields)).unbind(1)
        return self.summarise(dict(zip(self.fields, columns, strict=True)))

    def warn(self, reason: str) -> None:
        """Say in the log why a value is left out."""
        print_log(f'{type(self).__name__}: {reason}', logger='current', level=logging.WARNING)

    def evaluate(self, size: int) -> dict[str, float]:
        """See mmengine's ``BaseMetric``."""
        metrics = super().evaluate(size)
        self.num_seen = 0
        return metrics

    @abstractmethod
    def measure(
        self, inputs: Tensor, labels: Tensor, uniforms: Tensor
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """Measure a batch; runs in eval mode and without gradient.

        Args:
            inputs: (N, C, H, W) images in the model's normalisation, N > 0.
            labels: (N,) int64 classes.
            uniforms: (N,) float32 random numbers in [0, 1).

        Returns:
            (N,) bool, which samples the metric is about; and for each of the ``fields`` the (M,)
            values of those samples, in their order. Without such samples no value is read.
        """

    @abstractmethod
    def summarise(self, values: dict[str, Tensor]) -> dict[str, float]:
        """Turn the values of all samples, (M,) float64 by field, M >= 0, into metrics.

        A metric that has no sample to stand on is left out: mmengine would log a NaN, and a
        training goes on.
        """


@HOOKS.register_module()
class ModelMetricHook(Hook):
    """Hands the model to the metrics that ask for it, before every validation and test.

    It also does so before a training, so that a metric that does not fit the model ends the run
    before it starts.
    """

    def before_train(self, runner: Runner) -> None:
        """Check that the metrics of the validation fit the model."""
        if runner.val_loop is not None:
            _attach(runner, runner.val_loop)

    def before_val_epoch(self, runner: Runner) -> None:
        """Hand over the model."""
        _attach(runner, runner.val_loop)

    def before_test_epoch(self, runner: Runner) -> None:
        """Hand over the model."""
        _attach(runner, runner.test_loop)


def attacks_of(metric: BaseMetric) -> list[Attack]:
    """The attacks that a metric has as ``attack``, or by name in ``attacks``."""
    several = getattr(metric, 'attacks', None)
    found = [
        getattr(metric, 'attack', None),
        *(several.values() if isinstance(several, dict) else ()),
    ]
    return [each for each in found if isinstance(each, Attack)]


def attach_metrics(metrics: Iterable[BaseMetric], model: nn.Module, dataset_size: int) -> None:
    """Hand a model to those metrics that ask for it."""
    for metric in metrics:
        if isinstance(metric, ModelMetric):
            metric.attach(model, dataset_size)


def _attach(runner: Runner, loop: ValLoop | TestLoop) -> None:
    attach_metrics(loop.evaluator.metrics, runner.model, len(loop.dataloader.dataset))
