"""Have a traced gradient remember less of the forward pass.

Of a ReLU's answers the gradient needs to know only where they are positive; of the inputs of a
convolution whose weights are frozen, and of average pooling, only their shape.
"""

import torch
from torch import fx

from mmbss.acceleration.fusion import RELUS

aten = torch.ops.aten


def remember_less(graph: fx.Graph) -> None:
    """Rewrite a graph of an answer and its gradient, in place; the results stay the same.

    Args:
        graph: Graph of ATen operators, whose nodes have their tensors as ``meta['val']``.
    """
    masks: dict[fx.Node, fx.Node] = {}
    for node in list(graph.nodes):
        if node.target is aten.threshold_backward.default:
            _remember_signs(graph, node, masks)
        elif node.target is aten.convolution_backward.default:
            of_weight_or_bias = node.args[-1][1:]
            if not any(of_weight_or_bias):
                _remember_shape(graph, node)
        elif node.target is aten.avg_pool2d_backward.default:
            _remember_shape(graph, node)


def origin(node: fx.Node) -> fx.Node:
    """The node that a detached one is the value of."""
    while node.target is aten.detach.default:
        node = node.args[0]  # type: ignore[assignment]
    return node


def _remember_signs(graph: fx.Graph, node: fx.Node, masks: dict[fx.Node, fx.Node]) -> None:
    gradient, answer, threshold = node.args
    assert isinstance(gradient, fx.Node)
    assert isinstance(answer, fx.Node)
    answer = origin(answer)
    if answer.target not in RELUS or threshold != 0:
        return
    if answer not in masks:
        with graph.inserting_after(answer):
            mask = graph.call_function(aten._to_copy.default, (answer,), dict(dtype=torch.bool))
        with graph.inserting_after(mask):
            # the same bytes, which become floats faster than truth values do
            masks[answer] = graph.call_function(aten.view.dtype, (mask, torch.int8))
        mask.meta['val'] = answer.meta['val'].bool()
        masks[answer].meta['val'] = mask.meta['val'].view(torch.int8)
    with graph.inserting_before(node):
        # not before there is a gradient, so that the mask alone is kept until then
        positive = graph.call_function(aten.type_as.default, (masks[answer], gradient))
    positive.meta['val'] = gradient.meta['val']
    node.args = (gradient, positive, threshold)


def _remember_shape(graph: fx.Graph, node: fx.Node) -> None:
    gradient, inputs, *others = node.args
    assert isinstance(gradient, fx.Node)
    assert isinstance(inputs, fx.Node)
    value, rows_of_gradient = inputs.meta['val'], gradient.meta['val'].shape[0]
    fixed = (*value.shape[1:], *value.stride())
    if not all(isinstance(number, int) for number in fixed):
        return
    if str(value.shape[0]) != str(rows_of_gradient):
        return
    with graph.inserting_before(node):
        rows = graph.call_function(aten.sym_size.int, (gradient, 0))
        stand_in = graph.call_function(
            aten.new_empty_strided.default,
            (gradient, [rows, *value.shape[1:]], list(value.stride())),
            dict(dtype=value.dtype),
        )
    rows.meta['val'], stand_in.meta['val'] = rows_of_gradient, value
    node.args = (gradient, stand_in, *others)
