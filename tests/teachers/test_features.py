import copy
import gc
import weakref

import pytest
import torch
from torch import nn

from mmbss.teachers.features import FeatureRecorder, find_module, outputs_of


class Margin(nn.Linear):
    """A head whose answer is another one where it is told the labels, as that of ArcFace."""

    def forward(self, features, target=None):
        return super().forward(features) - (0 if target is None else 1)


def test_answers_without_labels_are_collected_with_their_graph():
    head, inputs = Margin(2, 3), torch.randn(4, 2)
    with outputs_of(head) as (outputs, with_labels):
        first, second = head(inputs), head(2 * inputs)
        head(inputs, torch.zeros(4))
        head(inputs, target=torch.zeros(4))
    head(inputs)
    assert len(outputs) == len(with_labels) == 2
    assert outputs[0] is first
    assert outputs[1] is second
    outputs[1].sum().backward()
    assert head.weight.grad is not None


def test_the_hook_is_removed_also_after_an_error():
    head = Margin(2, 3)
    with pytest.raises(RuntimeError), outputs_of(head):
        head(torch.zeros(1, 5))
    assert not head._forward_hooks


# ---------------------------------------------------------------- the recorder


class Net(nn.Module):
    """A stem of a convolution and an in-place ReLU, a block, and a linear layer for two views."""

    def __init__(self):
        super().__init__()
        self.stem = nn.Sequential(nn.Conv2d(1, 2, 3), nn.ReLU(inplace=True))
        self.block = nn.Sequential(nn.Conv2d(2, 3, 3), nn.ReLU())
        self.pair = Pair()
        self.fc = nn.Linear(3, 2)
        self.unused = nn.ModuleList([nn.ReLU(), nn.ReLU()])

    def forward(self, x):
        x, _ = self.pair(self.block(self.stem(x)).mean((2, 3)))
        return self.fc(x) + self.fc(-x)


class Pair(nn.Module):
    def __init__(self):
        super().__init__()
        self.inner = nn.Identity()

    def forward(self, x):
        return self.inner(x), None


@pytest.fixture
def net():
    return Net()


@pytest.fixture
def record(net):
    """The features of one forward pass."""

    def record(*paths):
        recorder = FeatureRecorder(net, 'student')
        with recorder.recording(paths) as features:
            net(torch.randn(4, 1, 8, 8))
        return features

    return record


def test_outputs_and_inputs_are_recorded_by_their_path(record, net):
    features = record('stem', 'block', 'block:input', 'pair.inner')
    assert list(features) == ['stem', 'block', 'block:input', 'pair.inner']
    assert features['block:input'] is features['stem']
    assert torch.equal(net.block(features['stem']), features['block'])
    features['block'].sum().backward()
    assert net.stem[0].weight.grad.abs().sum() > 0


def test_nothing_is_recorded_but_while_it_is_open(net):
    recorder = FeatureRecorder(net, 'student')
    recorder.watch(['stem'])
    inputs = torch.randn(2, 1, 8, 8)
    net(inputs)
    with recorder.recording(['block']) as features:
        net(inputs)
    kept = features['block']
    net(inputs)
    assert list(features) == ['block']
    assert features['block'] is kept
    assert recorder.calls is None


def test_features_are_let_go(net):
    recorder = FeatureRecorder(net, 'student')
    with recorder.recording(['stem', 'block:input']) as features:
        net(torch.randn(2, 1, 8, 8))
    seen = weakref.ref(features['stem'])
    del features
    gc.collect()
    assert seen() is None


def test_after_an_error_nothing_is_open(net):
    recorder = FeatureRecorder(net, 'student')
    with pytest.raises(RuntimeError), recorder.recording(['stem']) as features:
        net(torch.randn(2, 5, 8, 8))
    assert features == {}
    assert recorder.calls is None
    with recorder.recording(['stem']) as features:
        net(torch.randn(2, 1, 8, 8))
    assert list(features) == ['stem']


def test_a_module_is_hooked_once_and_again_where_it_was_replaced(net):
    recorder = FeatureRecorder(net, 'student')
    for _ in range(3):
        with recorder.recording(['block', 'block:input']) as features:
            net(torch.randn(2, 1, 8, 8))
    assert len(net.block._forward_hooks) == len(net.block._forward_pre_hooks) == 1
    net.block = nn.Sequential(nn.Conv2d(2, 3, 1))
    with recorder.recording(['block']) as features:
        net(torch.randn(2, 1, 8, 8))
    assert features['block'].shape == (2, 3, 6, 6)


def test_a_copy_has_a_recorder_of_its_own(net):
    recorder = FeatureRecorder(net, 'student')
    recorder.watch(['block'])
    other, its_recorder = copy.deepcopy((net, recorder))
    with its_recorder.recording(['block']) as features:
        net(torch.randn(2, 1, 8, 8))
        expected = other.block(other.stem(torch.ones(2, 1, 8, 8)))
    assert features['block'] is expected
    assert its_recorder.model is other


@pytest.mark.parametrize(
    ('path', 'message'),
    [
        ('pair', "the student's pair is a tuple, .*: name one of its parts, pair.inner$"),
        ('unused', 'unused is not called .*: name one of its parts, unused.0, unused.1$'),
        ('unused.0', "the student's unused.0 is not called when the student runs$"),
        ('fc', 'fc runs 2 times on one batch: name a module that runs once'),
        ('stem.0', r'stem.0 is overwritten by a module after it, such as ReLU\(inplace=True\)'),
        ('stem.1:input', 'stem.1:input is overwritten by a module after it'),
    ],
)
def test_what_is_no_single_tensor_is_refused(record, path, message):
    with pytest.raises(ValueError, match=message):
        record(path)


def test_an_input_that_is_no_tensor_is_refused():
    class Keyword(nn.Module):
        def forward(self, x):
            return self.inner(x=x)

    net = Keyword()
    net.inner = Keyword()
    net.inner.inner = nn.Identity()
    net.inner.forward = lambda x: x
    recording = FeatureRecorder(net, 'teacher').recording(['inner:input'])
    with pytest.raises(ValueError, match='inner:input is a NoneType, but a feature'), recording:
        net(torch.zeros(1))


@pytest.mark.parametrize(
    ('path', 'message'),
    [
        ('blok', "the student has no module 'blok', did you mean 'block'"),
        ('block.7', "no module 'block.7', did you mean 'block.1' or 'block.0'"),
        ('xyz:input', "no module 'xyz', it consists of stem, block, pair, fc, unused$"),
        ('', "no module '', it consists of stem"),
        ('fc.weight', "no module 'fc.weight'"),
    ],
)
def test_a_path_that_does_not_exist_is_named_with_the_closest(net, path, message):
    with pytest.raises(ValueError, match=message):
        FeatureRecorder(net, 'student').watch([path])


def test_a_module_of_two_names_is_found_by_both():
    layer = nn.ReLU()
    net = nn.Sequential(layer, layer)
    assert find_module(net, '1', 'student') is layer


def test_a_compiled_network_is_recorded(net):
    torch._dynamo.reset()
    recorder = FeatureRecorder(net, 'student')
    recorder.watch(['stem', 'block:input'])
    inputs = torch.randn(2, 1, 8, 8)
    with recorder.recording(['stem']) as features:
        net(inputs)
    expected = features['stem']
    net.compile(backend='eager')
    for _ in range(2):
        net(inputs)  # as in a validation, and as in a search on the teacher
        with recorder.recording(['stem', 'block:input']) as features:
            net(inputs)
        torch.testing.assert_close(features['stem'], expected)
        torch.testing.assert_close(features['block:input'], expected)
    (gradient,) = torch.autograd.grad(features['stem'].sum(), net.stem[0].weight)
    assert gradient.abs().sum() > 0
