"""Accuracy under attack."""

from typing import Any

import torch
from torch import Tensor

from mmbss.attacks import Attack
from mmbss.boundary.sampling import target_probabilities
from mmbss.engine.build import accepted_keys, build_checked, lookup
from mmbss.engine.errors import ConfigError
from mmbss.metrics.model_metric import ModelMetric
from mmbss.registry import ATTACKS, METRICS
from mmbss.teachers.normalisation import pixel_bounds


@METRICS.register_module()
class RobustAccuracy(ModelMetric):
    """Share of the samples that are classified correctly before and after each of some attacks.

    In percent, under the name of the attack; without one as ``clean``, on the same samples. A
    sample counts as wrong where the attack ends in another class, whether it was aimed there or
    not. The attacks get the pixels 0 and 255 as bounds, so that radii are in pixels of [0, 255].
    Without a sample all are left out.

    Args:
        attacks: Configs of attacks by name. One that can go away from the base class instead of
            toward a target class (``targeted=False``) does, unless its config says otherwise;
            any other aims at the second most probable class.
        **kwargs: ``num_samples``, ``seed`` and other arguments of :class:`ModelMetric`.

    Attributes:
        attacks: The attacks by name.

    Raises:
        ConfigError: If there is no attack, or one is no config of an attack or called ``clean``;
            and during evaluation, if the model's data preprocessor does more than normalise.

    Examples:
        In a config, with ``default_hooks=dict(model_metrics=dict(type='mmbss.ModelMetricHook'))``::

            val_evaluator = [
                dict(type='Accuracy', topk=(1,)),
                dict(type='mmbss.RobustAccuracy', num_samples=1000, attacks=dict(
                    fgsm_2=dict(type='mmbss.FGSMAttack', radius=2.0),
                    pgd_2=dict(type='mmbss.PGDAttack', radius=2.0, step_size=0.5, num_steps=20))),
            ]
    """

    default_prefix = 'robust_accuracy'
    in_pixels = True

    def __init__(self, attacks: dict[str, dict[str, Any]], **kwargs: Any) -> None:
        super().__init__(**kwargs)
        if not attacks or 'clean' in attacks:
            raise ConfigError(
                'RobustAccuracy: attacks must name one attack or more, and none of them "clean", '
                f'got {list(attacks)}'
            )
        self.attacks: dict[str, Attack] = {
            name: build_untargeted(config, f'RobustAccuracy.attacks.{name}')
            for name, config in attacks.items()
        }
        self.fields = ('clean', *attacks)

    def measure(
        self, inputs: Tensor, labels: Tensor, uniforms: Tensor
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """See :meth:`ModelMetric.measure`; about all samples."""
        assert self.model is not None
        logits = self.logits(inputs)
        correct = logits.argmax(dim=1) == labels
        values = dict(clean=correct)
        base = labels[correct]
        target = target_probabilities(logits[correct], base).argmax(dim=1)
        bounds = pixel_bounds(self.model.data_preprocessor, inputs.device)
        for name, attack in self.attacks.items():
            values[name] = correct.clone()
            if len(base):
                result = attack(self.logits, inputs[correct], base, target, bounds)
                values[name][correct] = result.logits.argmax(dim=1) == base
        return torch.ones_like(correct), values

    def summarise(self, values: dict[str, Tensor]) -> dict[str, float]:
        """See :meth:`ModelMetric.summarise`."""
        return {name: 100 * float(value.mean()) for name, value in values.items() if len(value)}


def build_untargeted(config: dict[str, Any], where: str) -> Attack:
    """Build an attack, by default one without a target class where it can do without.

    Raises:
        ConfigError: If ``config`` is no config of an attack.
    """
    kind = lookup(ATTACKS, config.get('type') if isinstance(config, dict) else None)
    if kind is not None and 'targeted' in accepted_keys(kind):
        config = {'targeted': False, **config}
    return build_checked(ATTACKS, config, where)
