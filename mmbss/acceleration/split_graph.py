"""Trace a network into a graph for its answer and a graph for its gradient."""

import operator
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor, fx
from torch._dispatch.python import enable_python_dispatcher
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.fx.experimental.proxy_tensor import make_fx
from torch.fx.experimental.symbolic_shapes import DimDynamic, ShapeEnv, StatelessSymbolicContext

from mmbss.acceleration.fusion import fuse_into_winograd
from mmbss.acceleration.lean_gradient import origin, remember_less
from mmbss.engine.errors import ConfigError


@dataclass(frozen=True)
class Axis:
    """Where a tensor has its rows: ``multiple`` entries of dimension ``dim`` each; 0: nowhere."""

    dim: int
    multiple: int

    def select(self, value: Tensor, rows: Tensor) -> Tensor:
        """The given rows of a tensor; all of one that has no rows."""
        if self.multiple == 0:
            return value
        # index_select is the fastest and leaves no other layout than that of contiguous tensors
        if self == Axis(0, 1) and value.is_contiguous():
            return value.index_select(0, rows)
        nhwc = value.ndim == 4 and value.is_contiguous(memory_format=torch.channels_last)
        if self == Axis(0, 1) and nhwc:
            return value.movedim(1, -1).index_select(0, rows).movedim(-1, 1)
        of_rows: tuple[slice | Tensor, ...] = (*[slice(None)] * self.dim, rows)
        if self.multiple == 1:
            return value[of_rows]
        split = value.unflatten(self.dim, (-1, self.multiple))
        return split[of_rows].flatten(self.dim, self.dim + 1)


@dataclass(frozen=True)
class Halves:
    """A traced network.

    Attributes:
        forward: Inputs to logits and a list of tensors.
        backward: Number of rows, those tensors and the gradient of the logits to that of the
            inputs.
        axes: Where each of the tensors has its rows.
        suits: Whether the forward graph does with that many rows what the network does.
    """

    forward: Callable[..., Any]
    backward: Callable[..., Any]
    axes: list[Axis]
    suits: Callable[[int], bool] = lambda rows: False

    def fuse(self) -> None:
        """Merge operators; the results are the same up to rounding."""
        for half in (self.forward, self.backward):
            assert isinstance(half, fx.GraphModule)
            fuse_into_winograd(half.graph)
            half.recompile()

    def compiled(self) -> 'Halves':
        """The same, compiled when first called; the gradient alone for any number of rows."""
        forward = torch.compile(self.forward, dynamic=False)
        backward = torch.compile(self.backward, dynamic=True)
        return replace(self, forward=forward, backward=backward, suits=lambda rows: False)


def trace(network: Callable[[Tensor], Tensor], inputs: Tensor, lean: bool = True) -> Halves:
    """Trace a network and its gradient by the inputs, for any number of rows; computes nothing.

    Args:
        network: Maps (N, ...) inputs to (N, K) logits.
        inputs: An example.
        lean: Whether the gradient is to remember less, see :func:`remember_less`.

    Raises:
        ValueError: If an activation mixes the rows of the batch with something else.
    """
    shapes = ShapeEnv()
    mode = FakeTensorMode(shape_env=shapes, allow_non_fake_inputs=True)
    sizes = [DimDynamic.DYNAMIC] + [DimDynamic.STATIC] * (inputs.ndim - 1)
    fake = mode.from_tensor(
        inputs.detach(), symbolic_context=StatelessSymbolicContext(dynamic_sizes=sizes)
    )
    rows: Any = fake.shape[0]
    symbol = rows.node.expr

    def answer_and_gradient(samples: Tensor, cotangent: Tensor) -> tuple[Tensor, Tensor]:
        with torch.enable_grad():
            samples = samples.requires_grad_()
            logits = network(samples).float()
            (gradient,) = torch.autograd.grad(logits, samples, cotangent)
        return logits.detach(), gradient

    with torch.no_grad():
        with mode, enable_python_dispatcher():
            cotangent = torch.empty_like(network(fake).float())
        traced = make_fx(answer_and_gradient, tracing_mode='symbolic', _allow_non_fake_inputs=True)(
            fake, cotangent
        )
    if lean:
        remember_less(traced.graph)
    guards = [guard.expr for guard in shapes.guards]
    halves = split(traced, rows)
    # of one row, torch takes much for granted without saying so
    return replace(
        halves, suits=lambda count: count > 1 and all(guard.subs(symbol, count) for guard in guards)
    )


def split(traced: fx.GraphModule, batch: Any) -> Halves:
    """Cut the graph of logits and gradient in two.

    Args:
        traced: Graph of (inputs, cotangent) to (logits, gradient).
        batch: The symbol of the number of rows in its shapes.
    """
    nodes = list(traced.graph.nodes)
    cotangent = [node for node in nodes if node.op == 'placeholder'][1]
    logits, gradient = nodes[-1].args[0]
    late = {cotangent}
    for node in nodes[:-1]:
        if any(used in late for used in node.all_input_nodes):
            late.add(node)

    backward = fx.Graph()
    copies: dict[fx.Node, fx.Node] = {}
    rows = backward.placeholder('rows')
    # a detached activation is the activation
    aliases = {node: origin(node) for node in nodes if node not in late}
    saved: dict[fx.Node, fx.Node] = {}
    for node in nodes[:-1]:
        if node in late:
            for used in node.all_input_nodes:
                if used not in late and used.op != 'get_attr' and not _is_size(used):
                    saved.setdefault(aliases[used], used)
    for node in (*saved, cotangent):
        copies[node] = backward.placeholder(node.name)
        copies[node].meta = node.meta

    def copy(node: fx.Node) -> fx.Node:
        node = aliases.get(node, node)
        if node not in copies:
            if _is_size(node):
                multiple = _multiple(node.meta['val'], batch, node)
                copies[node] = backward.call_function(operator.mul, (rows, multiple))
            else:
                copies[node] = backward.node_copy(node, copy)
        return copies[node]

    for node in nodes[:-1]:
        if node in late:
            copy(node)
    backward.output(copy(gradient))

    forward = fx.Graph()
    originals: dict[fx.Node, fx.Node] = {}
    for node in nodes[:-1]:
        if node not in late:
            originals[node] = forward.node_copy(node, lambda used: originals[used])
    forward.output((originals[logits], [originals[node] for node in saved]))
    for graph in (forward, backward):
        graph.eliminate_dead_code()
    return Halves(
        fx.GraphModule(traced, forward),
        fx.GraphModule(traced, backward),
        [_axis(node, batch) for node in saved],
    )


def _is_size(node: fx.Node) -> bool:
    return isinstance(node.meta.get('val'), (int, torch.SymInt))


def _multiple(size: Any, batch: Any, node: fx.Node) -> int:
    """How many times the number of rows a size is.

    Raises:
        ValueError: If it is no multiple.
    """
    multiple = size.node.expr / batch.node.expr
    if not multiple.is_Integer:
        raise ConfigError(f'{node.name} mixes the samples of a batch')
    return int(multiple)


def _axis(node: fx.Node, batch: Any) -> Axis:
    """Where an activation has its rows.

    Raises:
        ValueError: If they are not whole slices of one dimension.
    """
    shape = node.meta['val'].shape
    symbolic = [(dim, size) for dim, size in enumerate(shape) if isinstance(size, torch.SymInt)]
    if not symbolic:
        return Axis(0, 0)
    if len(symbolic) > 1:
        raise ConfigError(f'{node.name} mixes the samples of a batch')
    dim, size = symbolic[0]
    return Axis(dim, _multiple(size, batch, node))
