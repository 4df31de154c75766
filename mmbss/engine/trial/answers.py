"""Whether a teacher answers an image the same whenever it is asked, and beside whichever others."""

from collections.abc import Callable

from torch import Tensor

from mmbss.engine.errors import ConfigError, naming

#: How far two answers may differ, as a share of the largest logit. 16 bits round by less, and so do
#: 8 bits whose unit is that of a batch: up to 0.011, of five layers.
ROUNDING = 0.05


def check_steady(ask: Callable[[Tensor], Tensor], inputs: Tensor, answers: Tensor) -> None:
    """Refuse a teacher that is random, or for which an image depends on the others of its batch.

    The first image is asked about again among copies of itself: as many images as before, since
    their number decides how a GPU rounds. Of a batch of one that is the same batch again.

    Args:
        ask: Maps (N, ...) inputs to the teacher's (N, K) logits.
        inputs: Such inputs.
        answers: What it has said of them.

    Raises:
        ConfigError: If the logits differ by more than rounding.
    """
    with naming('model.teacher'):
        again = ask(inputs[[0] * len(inputs)])
    difference = (again.float() - answers[0].float()).abs()
    if (difference > ROUNDING * answers.float().abs().max()).any():
        raise ConfigError(
            f'model.teacher: its logits of one image change by up to {difference.max():.3g} when '
            'it is asked again beside other images: call eval() of its network, and leave out '
            'noise and dropout'
        )
