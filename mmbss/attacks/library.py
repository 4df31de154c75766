"""Attacks of libraries behind the interface of the package's own."""

import importlib.util
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from mmbss.attacks.base import Attack, AttackResult, accept
from mmbss.attacks.functional import Bounds, ToLogits, ends, in_base_class
from mmbss.attacks.library_autoattack import prepare_autoattack
from mmbss.attacks.library_foolbox import prepare_foolbox
from mmbss.engine.errors import ConfigError
from mmbss.engine.ranges import check_choice, check_positive
from mmbss.registry import ATTACKS

#: Finds adversarial images. Takes a module from (N, ...) float32 images in [0, 1] to (N, K)
#: logits, N images, their base classes and the target classes; returns N images.
Search = Callable[[nn.Module, Tensor, Tensor, Tensor], Tensor]

#: Of each library: the module that must be there, what to install, and what prepares an attack.
LIBRARIES: dict[str, tuple[str, str, Callable[..., Search]]] = {
    'foolbox': ('foolbox', 'foolbox>=3.3.4', prepare_foolbox),
    'autoattack': ('pyautoattack', 'pyautoattack>=0.2', prepare_autoattack),
}

#: Parts of the names of those that ask for logits or decisions alone.
WITHOUT_GRADIENT = (
    *('Binarization', 'Blended', 'Blur', 'BoundaryAttack', 'ContrastReduction', 'DatasetAttack'),
    *('GenAttack', 'HopSkipJump', 'Inversion', 'Noise', 'Pointwise', 'Spatial', 'square'),
)


@ATTACKS.register_module()
class LibraryAttack(Attack):
    """An attack of a library, such as DeepFool, C&W, DDN or AutoAttack.

    The library sees images in [0, 1], to which the bounds are mapped channel by channel, so the
    norm that it keeps small is that of the image, not of the normalised input. It gets at the
    gradient of the images alone: parameters get no gradient, and the model keeps its mode. The
    logits of the result are the model's own. A sample that does not start in its base class is
    not shown to the library and is rejected.

    Args:
        name: Of the attack in the library: a class of ``foolbox.attacks``, such as
            ``'L2DeepFoolAttack'``, ``'L2CarliniWagnerAttack'`` or ``'DDNAttack'``; for
            ``'autoattack'`` a version (``'standard'``, ``'plus'``, ``'rand'``) or one of its
            parts, such as ``'apgd-ce'`` or ``'square'``.
        library: ``'foolbox'``, or ``'autoattack'`` (Croce and Hein, arXiv 2003.01690).
        options: Arguments of the attack, such as ``dict(steps=50)`` for foolbox or
            ``dict(norm='L2')`` for AutoAttack, whose norm is ``'Linf'`` by default.
        radius: Largest size of the perturbation in the norm of the attack, in pixels of
            [0, 255]. None where the attack looks for the smallest perturbation.
        targeted: Whether to go toward the target class. Otherwise any class will do, and
            ``target`` of the result is the one reached.

    Raises:
        ConfigError: If the library is not installed.
        ConfigError: If the library has no such attack, or the attack does not take an argument;
            on a call without bounds.

    Examples:
        >>> LibraryAttack('DDNAttack', library='advertorch')
        Traceback (most recent call last):
        mmbss.engine.errors.ConfigError: LibraryAttack: library must be 'foolbox' or ...
    """

    def __init__(
        self,
        name: str,
        library: str = 'foolbox',
        options: dict[str, Any] | None = None,
        radius: float | None = None,
        targeted: bool = True,
    ) -> None:
        check_choice(self, LIBRARIES, library=library)
        check_positive(self, radius=radius)
        module, requirement, prepare = LIBRARIES[library]
        if importlib.util.find_spec(module) is None:
            raise ConfigError(
                f'LibraryAttack: {name!r} is of {library}, which is not installed: '
                f"pip install '{requirement}'"
            )
        radius_in_images = None if radius is None else radius / 255
        self.search = prepare(name, options or {}, radius_in_images, targeted)
        self.in_pixels = radius is not None
        self.targeted = targeted
        self.needs_gradient = not any(part in name for part in WITHOUT_GRADIENT)

    def run(
        self, model: ToLogits, samples: Tensor, base: Tensor, target: Tensor, bounds: Bounds | None
    ) -> AttackResult:
        """See :meth:`Attack.__call__`."""
        lowest, highest = ends(bounds, samples, 'libraries attack images in [0, 1]')
        with torch.no_grad():
            attacked = in_base_class(model(samples), base)
        rows = attacked.nonzero().squeeze(1)
        found, steps = samples.clone(), torch.zeros_like(base)
        if len(rows):
            scale = highest - lowest
            classifier = ImageClassifier(lambda images: model(lowest + scale * images))
            # of no width where nothing is to change
            images = ((samples[rows] - lowest) / scale.where(scale > 0, 1)).clamp(0, 1)
            moved = self.search(classifier, images, base[rows], target[rows]).detach()
            is_finite = moved.flatten(1).isfinite().all(dim=1)
            found[rows[is_finite]] = lowest + scale * moved[is_finite].clamp(0, 1)
            # a library may go on with some of the samples, but not say with which
            steps[rows] = -(-classifier.num_gradients // len(rows))
        with torch.no_grad():
            logits = model(found).float()
        return accept(found, logits, base, target, steps, attacked=attacked, targeted=self.targeted)


class ImageClassifier(nn.Module):
    """What a library is given in the place of the attacked model.

    It has no parameters and no mode of its own, so a library can change neither.

    Args:
        to_logits: Maps (N, ...) images in [0, 1] to (N, K) logits.

    Attributes:
        num_gradients: How many gradients of single images were evaluated.
    """

    def __init__(self, to_logits: ToLogits) -> None:
        super().__init__()
        self.to_logits = to_logits
        self.num_gradients = 0
        self.eval()

    def forward(self, images: Tensor) -> Tensor:
        """(N, K) float32 logits of (N, ...) images."""
        if images.requires_grad and torch.is_grad_enabled():
            return _InputGradient.apply(images, self)
        with torch.no_grad():
            return self.to_logits(images).float()


class _InputGradient(torch.autograd.Function):
    """A forward pass whose backward pass ends at the images: parameters get no gradient."""

    @staticmethod
    def forward(ctx: Any, images: Tensor, classifier: ImageClassifier) -> Tensor:
        with torch.enable_grad():
            ctx.images = images.detach().requires_grad_()
            ctx.logits = classifier.to_logits(ctx.images).float()
        ctx.classifier = classifier
        return ctx.logits.detach()

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None]:
        ctx.classifier.num_gradients += len(gradient)
        # a library may call backward more than once
        (of_images,) = torch.autograd.grad(ctx.logits, ctx.images, gradient, retain_graph=True)
        return of_images, None
