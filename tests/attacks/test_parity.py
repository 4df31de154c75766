"""BSSAttack finds the samples of the published algorithm, transcribed plainly in benchmarks/."""

import copy
import importlib.util

import numpy as np
import pytest
import torch
from mmpretrain import get_model
from torch import nn

from mmbss.attacks import BSSAttack
from mmbss.backbones import CIFARResNet
from mmbss.datasets import Digits

BOUNDS = (-2.5, 2.5)


@pytest.fixture(scope='module')
def reference_attack(root):
    spec = importlib.util.spec_from_file_location(
        'reference_attack', root / 'benchmarks' / 'reference_attack.py'
    )
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.reference_attack


class Classifier(nn.Module):
    """A backbone, a mean over its feature maps and a linear head."""

    def __init__(self, depth):
        super().__init__()
        self.backbone = CIFARResNet(depth=depth)
        self.fc = nn.Linear(64, 10)

    def forward(self, inputs):
        return self.fc(self.backbone(inputs)[-1].mean(dim=(2, 3)))


@pytest.fixture(scope='module')
def random_classifier():
    """A ResNet8 with random weights, and the BatchNorm statistics of random images."""
    torch.manual_seed(0)
    model = Classifier(depth=8).train()
    model.fc.weight.data *= 10
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.momentum = None
    with torch.no_grad():
        model(torch.randn(64, 3, 32, 32))
    return model.eval().requires_grad_(False)


@pytest.fixture(scope='module')
def random_attacked(random_classifier, reference_attack):
    """Images, base and target classes, and the transcription's samples in float64."""
    images = torch.randn(32, 3, 32, 32, generator=torch.Generator().manual_seed(1))
    images = images.clamp(*BOUNDS)
    ranked = random_classifier(images).topk(5).indices
    # near targets and far ones
    base, target = ranked[:, 0], torch.cat([ranked[:16, 1], ranked[16:, 4]])
    exact = copy.deepcopy(random_classifier).double()
    expected = reference_attack(exact, images.double(), base, target)
    reached = exact(expected).argmax(dim=1)
    return images, base, target, expected.float(), reached


def largest_differences(samples, expected):
    return (samples - expected).flatten(1).abs().amax(dim=1)


def attack_exactly(attack, model, images, base, target):
    """Attack a model that computes in float64, so that no kink of a ReLU is taken wrongly."""
    exact = copy.deepcopy(model).double()
    return attack(lambda inputs: exact(inputs.double()), images, base, target, BOUNDS)


def test_parity_on_a_random_network(random_classifier, random_attacked):
    images, base, target, expected, reached = random_attacked
    result = attack_exactly(BSSAttack(), random_classifier, images, base, target)
    assert largest_differences(result.samples, expected).max() <= 5e-6
    assert torch.equal(result.success, reached == target)
    # every way to end is among them: conditions (a), (b) and (c), soon and late
    statistics = result.statistics()
    assert min(statistics[name] for name in ('accepted', 'third_class', 'not_crossed')) > 0
    assert set(result.steps.tolist()) >= {1, 2, 10}


@pytest.mark.parametrize('setting', [dict(step_size=0.301), dict(overshoot=0), dict(num_steps=9)])
def test_parity_is_lost_with_any_other_setting(setting, random_classifier, random_attacked):
    *attacked, expected, _ = random_attacked
    result = attack_exactly(BSSAttack(**setting), random_classifier, *attacked)
    assert largest_differences(result.samples, expected).max() > 2e-5


def test_parity_in_float32_but_for_kinks(random_classifier, random_attacked):
    *attacked, expected, _ = random_attacked
    result = BSSAttack()(random_classifier, *attacked, BOUNDS)
    differences = largest_differences(result.samples, expected)
    assert (differences <= 1e-4).float().mean() >= 0.95
    assert differences.max() <= 0.05


@pytest.mark.parametrize('kind', ['second', 'uniform'])
def test_parity_on_a_trained_network_and_real_images(kind, reference_attack):
    model = get_model('segment-unlabelled_resnet8-w2_digits', pretrained=True)
    model = model.eval().requires_grad_(False)
    arrays = {
        name: torch.from_numpy(each[:64]) for name, each in Digits('test').load_arrays().items()
    }
    pixels = arrays['images'].float()[:, None]
    images = (pixels - model.data_preprocessor.mean) / model.data_preprocessor.std
    base, second = model(images).topk(2).indices.T
    assert (base == arrays['labels']).float().mean() > 0.75  # a trained one
    others = (base + 1 + torch.arange(64) % 9) % 10
    target = second if kind == 'second' else others
    exact = copy.deepcopy(model).double()
    expected = reference_attack(exact, images.double(), base, target)
    for result in (
        BSSAttack()(model, images, base, target, BOUNDS),
        attack_exactly(BSSAttack(), model, images, base, target),
    ):
        assert largest_differences(result.samples, expected.float()).max() <= 1e-5
        assert torch.equal(result.success, exact(expected).argmax(dim=1) == target)
        assert 0 < result.success.sum() < 64
        # on the way to any class a third one begins, mostly after the first step
        assert kind == 'uniform' or len(result.steps.unique()) >= 3


@pytest.fixture(scope='module')
def authors_teacher(root):
    weights = root.parent / 'shared' / 'data' / 'bss_resnet26_cifar10_teacher.safetensors'
    if not weights.exists():
        pytest.skip(f'needs {weights}')
    pytest.importorskip('safetensors', reason="the authors' teacher is a safetensors file")
    from safetensors.torch import load_file

    model = Classifier(depth=26)
    state = load_file(weights)
    model.fc.load_state_dict({key: state.pop(f'linear.{key}') for key in ('weight', 'bias')})
    model.backbone.load_state_dict(state)
    return model.eval().requires_grad_(False)


def test_parity_with_the_authors_teacher(authors_teacher, reference_attack, root):
    data = root / 'data' / 'cifar10' / 'test.npz'
    if not data.exists():
        pytest.skip(f'needs {data}')
    content = np.load(data)
    mean, std = torch.tensor([0.4914, 0.4822, 0.4465]), torch.tensor([0.2023, 0.1994, 0.201])
    images = torch.from_numpy(content['images'][:128]).float() / 255
    samples = ((images - mean) / std).permute(0, 3, 1, 2).contiguous()
    with torch.no_grad():
        base, target = authors_teacher(samples).topk(2).indices.T
    accurate = (base == torch.from_numpy(content['labels'][:128])).float().mean()
    assert accurate > 0.85
    expected = reference_attack(authors_teacher, samples, base, target)
    result = BSSAttack()(authors_teacher, samples, base, target, BOUNDS)
    differences = largest_differences(result.samples, expected)
    assert (differences <= 1e-4).float().mean() >= 0.99
    assert differences.max() <= 0.05
