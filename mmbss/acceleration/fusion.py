"""Have Winograd convolutions do what follows them in a traced network.

They then pass over memory once instead of three times.
"""

from typing import Any

import torch
from torch import Tensor, fx

ADD, ADD_IN_PLACE = torch.ops.aten.add.Tensor, torch.ops.aten.add_.Tensor
RELUS = (torch.ops.aten.relu.default, torch.ops.aten.relu_.default)


def fuse_into_winograd(graph: fx.Graph) -> None:
    """Merge the addition and the ReLU behind a convolution into it; in place.

    Args:
        graph: Graph of ATen operators, whose nodes have their tensors as ``meta['val']``.
    """
    for node in list(graph.nodes):
        operands: list[Any] = list(node.args)
        if node.target in (ADD, ADD_IN_PLACE) and len(operands) == 2 and not node.kwargs:
            first, second = operands
            if _can_add(first, second, node):
                _merge(graph, node, first, residual=second)
            elif node.target is ADD and _can_add(second, first, node):
                _merge(graph, node, second, residual=first)
        elif node.target in RELUS and _is_open(operands[0], node):
            _merge(graph, node, operands[0], relu=True)


def _can_add(convolution: Any, residual: Any, user: fx.Node) -> bool:
    if not (_is_open(convolution, user) and _alike(convolution, residual)):
        return False
    return convolution.args[3] is None


def _is_open(node: Any, user: fx.Node) -> bool:
    """Whether a node is a convolution that can do what its only user does."""
    if not isinstance(node, fx.Node) or str(node.target) != 'mmbss.winograd_conv.default':
        return False
    input, *_, relu = node.args
    assert isinstance(input, fx.Node)
    # run later, it must find its input unchanged, and it puts out NHWC
    changed = any(_changes(other, input) for other in input.users)
    nhwc = user.meta['val'].is_contiguous(memory_format=torch.channels_last)
    return list(node.users) == [user] and nhwc and not (relu or changed)


def _alike(convolution: fx.Node, other: Any) -> bool:
    if not isinstance(other, fx.Node) or not isinstance(other.meta.get('val'), Tensor):
        return False
    mine, its = convolution.meta['val'], other.meta['val']
    return mine.dtype == its.dtype and str(mine.shape) == str(its.shape)


def _changes(node: fx.Node, argument: fx.Node) -> bool:
    """Whether an operator writes to one of its arguments."""
    if not isinstance(node.target, torch._ops.OpOverload):
        return False
    given = zip(node.args, node.target._schema.arguments, strict=False)
    return any(value is argument and declared.is_write for value, declared in given)


def _merge(
    graph: fx.Graph,
    node: fx.Node,
    convolution: fx.Node,
    residual: fx.Node | None = None,
    relu: bool = False,
) -> None:
    input, kernels, bias, added, _ = convolution.args
    with graph.inserting_before(node):
        arguments = (input, kernels, bias, residual or added, relu)
        merged = graph.call_function(convolution.target, arguments)  # type: ignore[arg-type]
    merged.meta = node.meta
    node.replace_all_uses_with(merged)
    graph.erase_node(node)
    graph.erase_node(convolution)
