"""Take the gradient of a forward pass later, and for some of its rows only.

Which samples are attacked is known only after the teacher has answered the whole batch. Autograd
would then have to answer those samples once more, with a graph, to get at their gradient. Here the
teacher is traced into two graphs: one for the answer, which hands over what the gradient needs,
and one for the gradient, which takes that of any rows.
"""

from collections.abc import Callable
from typing import Any

import torch
import torch._dynamo
from torch import Tensor

from mmbss.acceleration.split_graph import Halves, trace
from mmbss.engine.errors import ConfigError

#: Rows of the first pass whose gradient is compared with that of autograd, and how far they may
#: differ, as a share of the largest entry.
NUM_CHECKED = 8
TOLERANCE = 0.1
#: Samples that differ by less, in normalised units, are the same.
ROUNDING = 1e-5


class RecordedPass:
    """The forward pass of a batch, with what the gradient of its rows needs.

    Attributes:
        logits: (N, K) float32, without gradient.
    """

    def __init__(self, halves: Halves, inputs: Tensor) -> None:
        self.halves = halves
        with torch.no_grad(), torch.autocast(inputs.device.type, enabled=False):
            self.logits, self.saved = halves.forward(inputs)
        self.kept_logits = self.logits

    def keep(self, rows: Tensor) -> None:
        """Forget all rows but these (M,) int64, which may repeat; frees the memory of the rest."""
        self.kept_logits = self.kept_logits[rows]
        # one after the other, so that all and the kept ones are never in memory together
        for index, axis in enumerate(self.halves.axes):
            self.saved[index] = axis.select(self.saved[index], rows)

    def __call__(self, samples: Tensor) -> Tensor:
        """The recorded logits (M, K) of the kept rows, with a gradient.

        Args:
            samples: (M, ...) the kept rows of the recorded inputs, asking for a gradient. Their
                values are not looked at.
        """
        return _Recall.apply(samples, self)

    def gradient(self, cotangent: Tensor) -> Tensor:
        """Gradient of ``(cotangent * logits).sum()`` by the kept rows of the inputs.

        Rows whose logits have no gradient cost nothing.
        """
        with torch.no_grad(), torch.autocast(cotangent.device.type, enabled=False):
            rows = cotangent.any(dim=1).nonzero().flatten()
            if len(rows) in (0, len(cotangent)):
                return self.halves.backward(len(cotangent), *self.saved, cotangent)
            part = self.halves.backward(len(rows), *self._select(rows), cotangent[rows])
            gradient = part.new_zeros(len(cotangent), *part.shape[1:])
            gradient[rows] = part
            return gradient

    def _select(self, rows: Tensor) -> list[Tensor]:
        axes = self.halves.axes
        return [axis.select(value, rows) for axis, value in zip(axes, self.saved, strict=True)]


class RecallingNetwork:
    """A network that answers the kept rows of a recorded pass from the record, if asked first.

    Other inputs it answers by the graphs of that pass, where these suit their number.

    Args:
        network: Answers everything else.
        recorded: Pass of the network, of which the rows of ``samples`` are kept.
        samples: (M, ...) the kept rows of the recorded inputs.
    """

    def __init__(
        self, network: Callable[[Tensor], Tensor], recorded: RecordedPass, samples: Tensor
    ) -> None:
        self.network = network
        self.recorded: RecordedPass | None = recorded
        self.samples = samples
        self.halves = recorded.halves
        # then a gradient that is asked for some rows only costs no more than these do
        self.takes_gradient_of_rows = self.halves.suits(len(samples))

    def __call__(self, inputs: Tensor) -> Tensor:
        """(N, K) logits of (N, ...) inputs."""
        # an attack asks about its base samples at the start or never; then the record may go
        recorded, self.recorded = self.recorded, None
        if recorded is not None and _are_the_same(inputs, self.samples):
            return recorded(inputs)
        if self.halves.suits(len(inputs)):
            return RecordedPass(self.halves, inputs.detach())(inputs)
        return self.network(inputs)


def _are_the_same(inputs: Tensor, samples: Tensor) -> bool:
    return inputs.shape == samples.shape and torch.allclose(inputs, samples, rtol=0, atol=ROUNDING)


class _Recall(torch.autograd.Function):
    """Known logits as a function of their inputs."""

    @staticmethod
    def forward(ctx: Any, samples: Tensor, recorded: RecordedPass) -> Tensor:
        ctx.recorded, ctx.dtype = recorded, samples.dtype
        return recorded.kept_logits.clone()

    @staticmethod
    def backward(ctx: Any, cotangent: Tensor) -> tuple[Tensor, None]:
        return ctx.recorded.gradient(cotangent).to(ctx.dtype), None


class PassRecorder:
    """Runs a frozen network on batches so that the gradient of some rows can be taken later.

    Args:
        network: Maps (N, ...) inputs to (N, K) logits, each row independent of the others. It
            must do the same at every call with inputs of the same shape.
        compile: Whether to compile both graphs with ``torch.compile``.

    Examples:
        >>> import torch
        >>> network = torch.nn.Sequential(torch.nn.Linear(3, 4), torch.nn.ReLU())
        >>> inputs = torch.randn(5, 3)
        >>> recorded = PassRecorder(network.requires_grad_(False))(inputs)
        >>> recorded.keep(torch.tensor([2, 4]))
        >>> rows = inputs[[2, 4]].requires_grad_()
        >>> gradient, = torch.autograd.grad(recorded(rows).sum(), rows)
        >>> expected, = torch.autograd.grad(network(rows).sum(), rows)
        >>> torch.equal(gradient, expected)
        True
    """

    def __init__(self, network: Callable[[Tensor], Tensor], compile: bool = False) -> None:
        self.network = network
        self.compile = compile
        self.traced: dict[Any, Halves] = {}

    def __call__(self, inputs: Tensor) -> RecordedPass:
        """Run the network on (N, ...) inputs, N at least 2.

        Raises:
            ValueError: If the network cannot be traced, or traced it has another gradient.
        """
        device = inputs.device.type
        autocast = torch.is_autocast_enabled(device) and torch.get_autocast_dtype(device)
        # a layer may choose its way by the size of the batch, so that is part of the key
        key = (tuple(inputs.shape), inputs.dtype, inputs.device, autocast)
        if key not in self.traced:
            try:
                # what is compiled already is traced as it was written
                with (
                    torch.compiler.set_stance('force_eager'),
                    torch._dynamo.config.patch(error_on_nested_fx_trace=False),
                ):
                    # what is compiled is slower if it has to make do with less
                    halves = trace(self.network, inputs, lean=not self.compile)
                    self._check(halves, inputs)
                halves.fuse()
            except Exception as error:  # tracing runs the code of any network
                raise ConfigError(
                    f'the teacher cannot be recorded ({type(error).__name__}: {error}): set '
                    'boundary.reuse_clean_pass=False'
                ) from error
            self.traced[key] = halves.compiled() if self.compile else halves
        return RecordedPass(self.traced[key], inputs)

    def _check(self, halves: Halves, inputs: Tensor) -> None:
        rows = torch.arange(min(NUM_CHECKED, len(inputs)), device=inputs.device)
        recorded = RecordedPass(halves, inputs)
        recorded.keep(rows)
        with torch.enable_grad():
            samples = inputs[rows].detach().requires_grad_()
            logits = self.network(samples).float()
            cotangent = torch.linspace(-1.0, 1.0, logits.numel()).view_as(logits).to(logits)
            (expected,) = torch.autograd.grad(logits, samples, cotangent)
        difference = (recorded.gradient(cotangent) - expected).abs().max()
        if not difference <= TOLERANCE * expected.abs().max():
            raise ArithmeticError(f'its gradient differs by {difference:.3g}')
