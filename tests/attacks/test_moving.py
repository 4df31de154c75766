import pytest
import torch

from mmbss.attacks.moving import MovingSamples


class Model:
    """The squares; remembers what it was asked."""

    def __init__(self):
        self.passes = []

    def __call__(self, inputs):
        self.passes.append((inputs.detach().clone(), inputs.requires_grad))
        return inputs.square()


SAMPLES = torch.tensor([[1.0, 2.0], [3.0, 4.0], [5.0, 6.0]])


def test_all_samples_are_in_the_first_pass():
    model = Model()
    moving = MovingSamples(model, SAMPLES)
    ((inputs, has_graph),) = model.passes
    assert torch.equal(inputs, SAMPLES)
    assert has_graph
    assert moving.rows.tolist() == [0, 1, 2]
    assert torch.equal(moving.output, SAMPLES.square())
    assert torch.equal(moving.logits, SAMPLES.square())
    assert not moving.logits.requires_grad


def test_what_is_left_out_neither_moves_nor_is_in_a_pass():
    model, samples = Model(), SAMPLES.clone()
    moving = MovingSamples(model, samples)
    moving.keep(torch.tensor([True, False, True]))
    assert moving.points.tolist() == [[1.0, 2.0], [5.0, 6.0]]
    moving.move(torch.tensor([[7.0, 0.0], [8.0, 0.0]]))
    moving.evaluate(with_graph=False)
    assert model.passes[1][0].tolist() == [[7.0, 0.0], [8.0, 0.0]]
    assert not model.passes[1][1]
    moving.keep(torch.tensor([False, True]))
    moving.move(torch.tensor([[9.0, 0.0]]))
    moving.evaluate()
    assert model.passes[2][0].tolist() == [[9.0, 0.0]]
    assert moving.rows.tolist() == [2]
    assert moving.samples.tolist() == [[7.0, 0.0], [3.0, 4.0], [9.0, 0.0]]
    assert torch.equal(moving.logits, moving.samples.square())
    assert torch.equal(samples, SAMPLES)


def test_gradients_are_those_of_the_samples_that_move_and_are_counted():
    moving = MovingSamples(torch.square, SAMPLES)
    moving.keep(torch.tensor([True, False, True]))
    first = moving.gradient(moving.output[:, 0], retain_graph=True)
    second = moving.gradient(moving.output.sum(dim=1))
    assert first.tolist() == [[2.0, 0.0], [10.0, 0.0]]
    assert second.tolist() == [[2.0, 4.0], [10.0, 12.0]]
    assert moving.steps.tolist() == [2, 0, 2]


def test_left_out_twice_the_gradients_still_belong_to_their_samples():
    moving = MovingSamples(torch.square, SAMPLES)
    moving.keep(torch.tensor([False, True, True]))
    moving.keep(torch.tensor([False, True]))
    assert moving.rows.tolist() == [2]
    assert moving.gradient(moving.output[:, 1]).tolist() == [[0.0, 12.0]]
    assert moving.steps.tolist() == [0, 0, 1]


def test_without_a_graph_there_is_no_gradient():
    moving = MovingSamples(torch.square, SAMPLES)
    moving.evaluate(with_graph=False)
    with pytest.raises(RuntimeError):
        moving.gradient(moving.output[:, 0])


def test_logits_are_float32():
    moving = MovingSamples(lambda inputs: inputs.bfloat16(), SAMPLES)
    moving.evaluate()
    assert moving.output.dtype == moving.logits.dtype == torch.float32
