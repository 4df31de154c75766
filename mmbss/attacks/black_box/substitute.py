"""A black-box attack through a substitute model (Papernot et al. 2017, arXiv 1602.02697)."""

from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from mmbss.attacks.base import Attack, AttackResult, accept
from mmbss.attacks.functional import Bounds, ToLogits, ends, in_base_class, pixel_size, project
from mmbss.attacks.gradient_sign import PGDAttack
from mmbss.engine.build import build_checked
from mmbss.engine.errors import ConfigError, MissingFileError
from mmbss.engine.files import read_arrays
from mmbss.engine.randomness import own_randomness
from mmbss.engine.ranges import check_at_least, check_positive
from mmbss.registry import ATTACKS

BATCH_SIZE = 128
LEARNING_RATE = 1e-3


@ATTACKS.register_module()
class SubstituteAttack(Attack):
    """Attacks a model that only gives its decisions, through a substitute trained on them.

    Starting from a few images of the attacker's own, the substitute is trained on the classes
    that the model puts them in. Then each image is moved along the sign of the gradient of the
    substitute's logit of its class, the model is asked for the classes of the new images, and
    so on: each round doubles the data and asks as many questions as there are new images. The
    samples of a white-box attack on the substitute are then put to the model.

    The substitute, a small convolutional network, is trained on the first call, and again by
    :meth:`fit`, always with the random numbers of ``seed``: of one model it is always the same, so
    also after a resume and in each of several processes. Lengths are in pixels of [0, 255], as for
    :class:`~mmbss.attacks.PGDAttack`.

    Args:
        attack: Config of the attack on the substitute, an ``FGSMAttack`` or ``PGDAttack``.
        data_file: ``.npz`` file with the attacker's ``images``, (N, H, W) or (N, H, W, C) uint8.
            None if :meth:`fit` is called with images.
        num_images: How many of these images, the first, the attacker starts from.
        num_rounds: How many times the data are doubled (rho).
        num_epochs: Epochs of training in each round.
        step_size: Change of each value that makes a new image (lambda), in pixels.
        seed: Of the substitute's first weights and of the order of the images.

    Raises:
        MissingFileError: If there is no such file.
        ConfigError: If a parameter is out of its range, or there are no images to train with.

    Examples:
        >>> import torch
        >>> def model(images):
        ...     light = images.mean(dim=(1, 2, 3))
        ...     return torch.stack([light, 1 - light], dim=1)
        >>> attack = SubstituteAttack(dict(type='FGSMAttack', radius=64), num_rounds=1)
        >>> images = torch.linspace(0, 1, 40).view(-1, 1, 1, 1).expand(-1, 1, 4, 4)
        >>> _ = attack.fit(model, images, bounds=(0.0, 1.0))
        >>> base, target = torch.tensor([0]), torch.tensor([1])
        >>> attack(model, images[25:26], base, target, bounds=(0.0, 1.0)).success
        tensor([True])
    """

    in_pixels = True
    needs_gradient = False
    learns = True

    def __init__(
        self,
        attack: dict[str, Any],
        data_file: str | None = None,
        num_images: int = 150,
        num_rounds: int = 6,
        num_epochs: int = 10,
        step_size: float = 25.5,
        seed: int = 0,
    ) -> None:
        self.attack = build_checked(ATTACKS, attack, 'SubstituteAttack.attack')
        if not isinstance(self.attack, PGDAttack):
            raise ConfigError(
                'SubstituteAttack.attack must be an FGSMAttack or a PGDAttack, got '
                f'{type(self.attack).__name__}'
            )
        if data_file is not None and not Path(data_file).is_file():
            raise MissingFileError(f'SubstituteAttack: no file {data_file!r}')
        check_at_least(self, 1, num_images=num_images, num_epochs=num_epochs)
        check_at_least(self, 0, num_rounds=num_rounds)
        check_positive(self, step_size=step_size)
        self.data_file = data_file
        self.num_images = num_images
        self.num_rounds = num_rounds
        self.num_epochs = num_epochs
        self.step_size = step_size
        self.seed = seed
        self.substitute: nn.Module | None = None

    def run(
        self, model: ToLogits, samples: Tensor, base: Tensor, target: Tensor, bounds: Bounds | None
    ) -> AttackResult:
        """See :meth:`Attack.__call__`."""
        if self.substitute is None:
            self.fit(model, self.load_images(bounds, samples), bounds)
        assert self.substitute is not None
        with torch.no_grad():
            attacked = in_base_class(model(samples), base)
        rows = attacked.nonzero().squeeze(1)
        found = samples.clone()
        if len(rows):
            found[rows], _ = self.attack.walk(
                self.substitute, samples[rows], base[rows], target[rows], bounds
            )
        with torch.no_grad():
            logits = model(found).float()
        return accept(
            found,
            logits,
            base,
            target,
            self.attack.num_steps * attacked.long(),
            attacked=attacked,
            targeted=self.attack.targeted,
        )

    @torch.enable_grad()
    def fit(self, model: ToLogits, images: Tensor, bounds: Bounds | None) -> nn.Module:
        """Train the substitute on the model's decisions.

        Args:
            model: Maps (N, C, H, W) inputs to (N, K) logits, of which only the largest is used.
            images: (N, C, H, W) float32 to start from, in the units of the model's input.
            bounds: Pixels 0 and 255 in these units.

        Returns:
            The substitute, in eval mode, with parameters that ask for no gradient.
        """
        step = self.step_size * pixel_size(bounds, images)
        decisions, num_classes = decide(model, images)
        # mixed precision would go on with the weights that it has cast first
        full_precision = torch.autocast(images.device.type, enabled=False)
        with own_randomness(self.seed, images.device), full_precision:
            substitute = small_network(images.shape[1], num_classes).to(images.device)
            train(substitute, images, decisions, self.num_epochs)
            for _ in range(self.num_rounds):
                signs = decision_gradient(substitute, images, decisions)
                new = project(images + step * signs, bounds)
                images = torch.cat([images, new])
                decisions = torch.cat([decisions, decide(model, new)[0]])
                train(substitute, images, decisions, self.num_epochs)
        self.substitute = substitute.eval().requires_grad_(False)
        return self.substitute

    def load_images(self, bounds: Bounds | None, like: Tensor) -> Tensor:
        """The attacker's images, (N, C, H, W), in the units of the model's input."""
        if self.data_file is None:
            raise ConfigError(
                "SubstituteAttack: the substitute needs images of the attacker's own: give "
                'data_file, or call fit'
            )
        arrays = read_arrays(self.data_file)
        if 'images' not in arrays:
            raise ConfigError(f'SubstituteAttack: {self.data_file} has no images')
        images = torch.from_numpy(arrays['images'][: self.num_images]).to(like)
        images = images.unsqueeze(1) if images.ndim == 3 else images.permute(0, 3, 1, 2)
        lowest, _ = ends(bounds, like, 'the substitute gets images in pixels')
        return lowest + pixel_size(bounds, like) * images


def small_network(in_channels: int, num_classes: int) -> nn.Module:
    """A network for (N, C, H, W) images of any size from 4 x 4 on."""
    return nn.Sequential(
        *(nn.Conv2d(in_channels, 32, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2)),
        *(nn.Conv2d(32, 64, 3, padding=1), nn.ReLU(), nn.AdaptiveAvgPool2d(4), nn.Flatten()),
        *(nn.Linear(1024, 128), nn.ReLU(), nn.Linear(128, num_classes)),
    )


@torch.no_grad()
def decide(model: ToLogits, images: Tensor) -> tuple[Tensor, int]:
    """The model's decisions, (N,) int64, and its number of classes."""
    logits = torch.cat([model(part) for part in images.split(BATCH_SIZE)])
    return logits.argmax(dim=1), logits.shape[1]


def decision_gradient(network: nn.Module, images: Tensor, decisions: Tensor) -> Tensor:
    """Sign of the gradient of the logit of each image's class: (N, C, H, W)."""
    signs = []
    for part, classes in zip(images.split(BATCH_SIZE), decisions.split(BATCH_SIZE), strict=True):
        current = part.detach().requires_grad_()
        logits = network(current).gather(1, classes.unsqueeze(1))
        signs.append(torch.autograd.grad(logits.sum(), current)[0].sign())
    return torch.cat(signs)


def train(network: nn.Module, images: Tensor, decisions: Tensor, num_epochs: int) -> None:
    """Train a network on the classes of images."""
    optimizer = torch.optim.Adam(network.parameters(), LEARNING_RATE)
    for _ in range(num_epochs):
        for rows in torch.randperm(len(images), device=images.device).split(BATCH_SIZE):
            optimizer.zero_grad()
            F.cross_entropy(network(images[rows]), decisions[rows]).backward()
            optimizer.step()
