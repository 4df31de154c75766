import importlib.util
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from mmbss.attacks import BSSAttack
from mmbss.attacks.functional import class_lead

ROOT = Path(__file__).resolve().parents[2]
TEACHER_FILE = ROOT.parent / 'shared' / 'data' / 'bss_resnet26_cifar10_teacher.safetensors'
IMAGE_FILE = ROOT / 'data' / 'cifar10' / 'test.npz'
STEPS = {
    'published': dict(num_steps=50, step_size=1.0, overshoot=0.01),
    'newton': dict(step='newton', step_size=0.9, overshoot=0.01),
    'closest': dict(step='closest', step_size=1.3, overshoot=0.01),
}
every_step = pytest.mark.parametrize('options', STEPS.values(), ids=STEPS.keys())


def load_script(path):
    spec = importlib.util.spec_from_file_location(path.stem, path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def linear_model(weight):
    model = nn.Linear(len(weight[0]), len(weight), bias=False)
    model.weight.data = torch.tensor(weight)
    return model.eval()


def identity(inputs):
    """Three classes, each the winner along its own axis."""
    return inputs.clone()


def classes(*values):
    return torch.tensor(values)


@pytest.fixture
def network():
    torch.manual_seed(0)
    layers = [nn.Conv2d(3, 8, 3, padding=1), nn.BatchNorm2d(8), nn.ReLU(), nn.Flatten()]
    return nn.Sequential(*layers, nn.Linear(8 * 36, 5)).eval()


@pytest.fixture
def images():
    return torch.randn(16, 3, 6, 6, generator=torch.Generator().manual_seed(3))


# ---- conditions (a), (b), (c) -----------------------------------------------------------------


def test_target_class_wins_is_accepted():
    result = BSSAttack(step_size=1.0)(
        identity, torch.tensor([[2.0, 1.0, 0.0]]), classes(0), classes(1)
    )
    # L = 1, |g| = sqrt 2: one step moves each of the two coordinates by (1 + 1e-4) / sqrt 2
    moved = (1 + 1e-4) / 2**0.5
    torch.testing.assert_close(result.samples, torch.tensor([[2 - moved, 1 + moved, 0.0]]))
    assert result.success.tolist() == [True]
    assert result.steps.tolist() == [1]
    torch.testing.assert_close(result.logits, result.samples)


def test_third_class_wins_is_rejected():
    model = linear_model([[1.0, 0.0], [0.0, 1.0], [0.0, 3.0]])
    result = BSSAttack(step_size=1.0)(model, torch.tensor([[2.0, 0.5]]), classes(0), classes(1))
    assert result.logits.argmax().item() == 2
    assert result.success.tolist() == [False]
    assert result.target.tolist() == [1]
    assert result.statistics()['third_class'].item() == 1


def test_third_class_ahead_of_the_base_class_alone_stops_the_sample():
    # the third class beats the base class, while the target has not yet
    model = linear_model([[1.0, 0.0], [0.0, 1.0], [0.0, 3.0]])
    result = BSSAttack(step_size=0.4)(model, torch.tensor([[2.0, 0.5]]), classes(0), classes(1))
    assert result.logits[0, 0] > result.logits[0, 1]
    assert result.steps.tolist() == [1]
    assert result.success.tolist() == [False]


def test_steps_used_up_is_rejected():
    result = BSSAttack(num_steps=3, step_size=0.01)(
        identity, torch.tensor([[5.0, 0.0, 0.0]]), classes(0), classes(1)
    )
    assert result.steps.tolist() == [3]
    assert result.success.tolist() == [False]
    assert result.statistics()['not_crossed'].item() == 1


def test_crossing_on_the_last_step_is_accepted():
    samples = torch.tensor([[2.0, 1.0, 0.0]])
    result = BSSAttack(num_steps=1, step_size=1.0)(identity, samples, classes(0), classes(1))
    assert result.success.tolist() == [True]


def test_third_class_can_be_accepted_as_the_new_target():
    model = linear_model([[1.0, 0.0], [0.0, 1.0], [0.0, 3.0]])
    for options in STEPS.values():
        attack = BSSAttack(**options, third_class='accept')
        result = attack(model, torch.tensor([[2.0, 0.5]]), classes(0), classes(1))
        assert result.success.tolist() == [True]
        assert result.target.tolist() == [2]
        assert result.statistics()['third_class'].item() == 0


@pytest.mark.parametrize('step', ['newton', 'closest'])
def test_third_class_can_be_avoided(step):
    # halfway to the target, at (1, 1, 1.5), the third class is ahead: it has to be held down
    samples = torch.tensor([[2.0, 0.0, 1.5]])
    options = dict(step=step, step_size=1.0, overshoot=0.01)
    straight = BSSAttack(**options)(identity, samples, classes(0), classes(1))
    assert straight.statistics()['third_class'].item() == 1
    result = BSSAttack(**options, third_class='avoid')(identity, samples, classes(0), classes(1))
    assert result.success.tolist() == [True]
    assert result.target.tolist() == [1]


@every_step
def test_sample_outside_its_base_class_stays(options):
    samples = torch.tensor([[0.0, 1.0, 0.0], [2.0, 0.5, 0.0]])
    for third_class in ('reject', 'accept', 'avoid'):
        attack = BSSAttack(**options, third_class=third_class)
        result = attack(identity, samples, classes(0, 0), classes(1, 1))
        assert result.success.tolist() == [False, True]
        assert result.steps[0].item() == 0
        assert torch.equal(result.samples[0], samples[0])


@every_step
def test_sample_that_a_third_class_wins_from_the_start_stays(options):
    samples = torch.tensor([[0.0, 0.5, 1.0]])
    for third_class in ('reject', 'accept', 'avoid'):
        attack = BSSAttack(**options, third_class=third_class)
        result = attack(identity, samples, classes(0), classes(1))
        assert result.success.tolist() == [False]
        assert result.target.tolist() == [1]
        assert result.steps.tolist() == [0]
        assert torch.equal(result.samples, samples)


def test_statistics_are_means_over_the_samples():
    # accepted; left for a third class; still in the base class; outside it from the start
    samples = torch.tensor([[2.0, 1.0, 0.0], [2.0, 0.0, 1.8], [9.0, 0.0, 0.0], [0.0, 1.0, 0.0]])
    attack = BSSAttack(num_steps=1, step_size=0.6, overshoot=1.0)
    result = attack(identity, samples, classes(0, 0, 0, 0), classes(1, 1, 1, 1))
    probabilities = result.logits.softmax(dim=1)
    gap = (probabilities[:, 0] - probabilities[:, 1]).abs().mean().item()
    assert result.success.tolist() == [True, False, False, False]
    statistics = {name: value.item() for name, value in result.statistics().items()}
    assert statistics == pytest.approx(
        dict(accepted=0.25, third_class=0.5, not_crossed=0.25, steps=0.75, gap=gap)
    )


# ---- edges ------------------------------------------------------------------------------------


@every_step
def test_vanishing_gradient_stays_and_is_rejected(options):
    def flat(inputs):
        return torch.tensor([[1.0, 0.0]]) + 0.0 * inputs[:, :1] * torch.ones(1, 2)

    result = BSSAttack(**options)(flat, torch.ones(2, 3), classes(0, 0), classes(1, 1))
    assert torch.equal(result.samples, torch.ones(2, 3))
    assert not result.success.any()
    assert all(torch.isfinite(value) for value in result.statistics().values())


@every_step
def test_no_sample(options, network):
    nothing = torch.zeros(0, dtype=torch.int64)
    result = BSSAttack(**options)(network, torch.zeros(0, 3, 6, 6), nothing, nothing)
    assert result.samples.shape == (0, 3, 6, 6)
    assert result.logits.shape == (0, 5)
    assert set(result.statistics()) >= {'accepted', 'third_class', 'not_crossed', 'steps', 'gap'}
    assert all(value.item() == 0 for value in result.statistics().values())


@every_step
def test_one_sample_equals_its_row_in_a_batch(options, network, images):
    base, target = network(images).topk(2).indices.T
    attack = BSSAttack(**options)
    together = attack(network, images, base, target)
    for row in (0, 7):
        alone = attack(network, images[row : row + 1], base[row : row + 1], target[row : row + 1])
        torch.testing.assert_close(alone.samples[0], together.samples[row], atol=1e-4, rtol=0)
        assert alone.steps[0] == together.steps[row]


@every_step
def test_result_agrees_with_the_model(options, network, images):
    base, target = network(images).topk(2).indices.T
    result = BSSAttack(**options)(network, images, base, target)
    with torch.no_grad():
        torch.testing.assert_close(result.logits, network(result.samples), atol=1e-4, rtol=0)
    assert not result.samples.requires_grad
    assert not result.logits.requires_grad
    assert result.success.any()
    assert (class_lead(result.logits, base)[result.success] < 0).all()


@every_step
def test_bounds_are_respected(options, network, images):
    images = images.clamp(-0.5, 0.4)
    base, target = network(images).topk(2).indices.T
    lowest = torch.tensor([-0.5, -0.6, -0.7]).view(3, 1, 1)
    result = BSSAttack(**options)(network, images, base, target, (lowest, lowest + 1.2))
    assert not torch.equal(result.samples, images)
    assert (result.samples >= lowest).all()
    assert (result.samples <= lowest + 1.2).all()


@every_step
def test_model_is_left_as_it_was(options, network, images):
    base, target = network(images).topk(2).indices.T
    network[0].weight.grad = torch.full_like(network[0].weight, 7.0)
    before = {name: value.clone() for name, value in network.state_dict().items()}
    samples = images.clone().requires_grad_()
    BSSAttack(**options)(network, samples, base, target)
    assert samples.grad is None
    assert torch.equal(samples.detach(), images)
    assert (network[0].weight.grad == 7.0).all()
    assert all(p.grad is None for name, p in network.named_parameters() if name != '0.weight')
    for name, value in network.state_dict().items():
        assert torch.equal(value, before[name])
    assert not network.training


@every_step
def test_arguments_are_left_as_they_were(options, network, images):
    base, target = (classes_.clone() for classes_ in network(images).topk(2).indices.T)
    target_before = target.clone()
    BSSAttack(**options, third_class='accept')(network, images, base, target)
    assert torch.equal(target, target_before)


@every_step
def test_works_under_no_grad(options, network, images):
    base, target = network(images).topk(2).indices.T
    expected = BSSAttack(**options)(network, images, base, target)
    with torch.no_grad():
        result = BSSAttack(**options)(network, images, base, target)
        assert not torch.is_grad_enabled()
    assert torch.equal(result.samples, expected.samples)


@every_step
def test_half_precision_logits(options, network, images):
    base, target = network(images).topk(2).indices.T
    result = BSSAttack(**options)(lambda x: network(x).bfloat16(), images, base, target)
    assert result.samples.dtype == result.logits.dtype == torch.float32
    assert result.success.any()
    assert torch.isfinite(result.samples).all()


# ---- cost -------------------------------------------------------------------------------------


@every_step
def test_only_moving_samples_are_in_the_batch(options):
    sizes = []

    def model(inputs):
        sizes.append(len(inputs))
        return identity(inputs)

    # the third sample never moves
    samples = torch.tensor([[1.01, 1.0, 0.0], [9.0, 0.0, 0.0], [0.0, 1.0, 0.0]])
    result = BSSAttack(**options)(model, samples, classes(0, 0, 0), classes(1, 1, 1))
    assert result.success.tolist() == [True, True, False]
    assert sizes[0] == 3
    assert all(size <= 2 for size in sizes[1:])


def test_a_straggler_walks_alone():
    sizes = []

    def model(inputs):
        sizes.append(len(inputs))
        return identity(inputs)

    samples = torch.tensor([[1.01, 1.0, 0.0], [9.0, 0.0, 0.0]])
    attack = BSSAttack(step='newton', step_size=0.9, overshoot=0.1)
    result = attack(model, samples, classes(0, 0), classes(1, 1))
    assert result.success.tolist() == [True, True]
    assert result.steps.tolist() == [1, 2]
    assert sizes == [2, 2, 1]


def test_where_most_samples_are_to_leave_only_the_stragglers_pay_for_a_second_gradient():
    passes = []

    def model(inputs):
        passes.append((len(inputs), inputs.requires_grad))
        return identity(inputs)

    samples = torch.tensor([[1.01, 1.0, 0.0], [1.02, 1.0, 0.0], [9.0, 0.0, 0.0]])
    attack = BSSAttack(num_steps=2, step='newton', step_size=0.9, overshoot=0.1)
    result = attack(model, samples, classes(0, 0, 0), classes(1, 1, 1))
    assert result.steps.tolist() == [1, 1, 2]
    assert passes == [(3, True), (3, False), (1, True), (1, False)]
    # the margin of the last one after two steps, (1 - 0.9) L - 0.9 * 0.1 each
    assert class_lead(result.logits, classes(0, 0, 0))[2].item() == pytest.approx(-0.009, abs=1e-5)


def test_no_second_gradient_is_paid_where_the_model_takes_that_of_some_rows():
    class Remembering:
        takes_gradient_of_rows = True

        def __init__(self):
            self.passes = []

        def __call__(self, inputs):
            self.passes.append((len(inputs), inputs.requires_grad))
            return identity(inputs)

    model = Remembering()
    samples = torch.tensor([[1.01, 1.0, 0.0], [1.02, 1.0, 0.0], [9.0, 0.0, 0.0]])
    attack = BSSAttack(num_steps=2, step='newton', step_size=0.9, overshoot=0.1)
    result = attack(model, samples, classes(0, 0, 0), classes(1, 1, 1))
    other = attack(identity, samples, classes(0, 0, 0), classes(1, 1, 1))
    assert model.passes == [(3, True), (3, True), (1, False)]
    assert torch.equal(result.samples, other.samples)
    assert torch.equal(result.steps, other.steps)


# ---- the closest step -------------------------------------------------------------------------


def test_closest_on_a_linear_model_is_the_projection():
    torch.manual_seed(0)
    weight = torch.randn(2, 20)
    samples = torch.randn(8, 20)
    base, target = (samples @ weight.T).topk(2).indices.T
    model = linear_model(weight.tolist())
    result = BSSAttack(step='closest', step_size=0.8, overshoot=1e-3)(model, samples, base, target)
    for row in range(8):
        normal = weight[base[row]] - weight[target[row]]
        distance = (samples[row] @ normal / normal.norm()).item()
        moved = (result.samples[row] - samples[row]).norm().item()
        assert moved == pytest.approx(distance, abs=5e-3)
    assert result.success.all()
    assert (class_lead(result.logits, base) >= -3.01e-3).all()


def test_closest_ends_closer_to_the_boundary_and_the_base_sample(network, images):
    base, target = network(images).topk(2).indices.T
    newton = BSSAttack(step='newton', step_size=0.85, overshoot=0.05)
    closest = BSSAttack(step='closest', step_size=1.3, overshoot=0.01, third_class='accept')
    reached = newton(network, images, base, target)
    result = closest(network, images, base, target)
    assert result.success.all()
    assert (class_lead(result.logits, base) >= -0.0301).all()
    length = (result.samples - images).flatten(1).norm(dim=1).mean()
    assert length < (reached.samples - images).flatten(1).norm(dim=1).mean()


def test_closest_never_leaving_the_base_class_returns_the_base_sample():
    def bounded(inputs):
        return torch.stack([1 + inputs[:, 0].sigmoid(), torch.zeros(len(inputs))], dim=1)

    samples = torch.ones(2, 3)
    attack = BSSAttack(step='closest', num_steps=4, step_size=1.0, overshoot=0.01)
    result = attack(bounded, samples, classes(0, 0), classes(1, 1))
    assert torch.equal(result.samples, samples)
    assert not result.success.any()
    assert result.steps.tolist() == [4, 4]


@pytest.mark.parametrize('third_class', ['reject', 'accept', 'avoid'])
@pytest.mark.parametrize('start', [0.5, 2.0])
def test_closest_takes_two_pulled_steps_near_the_boundary_and_a_search(start, third_class):
    leads = []

    def model(inputs):
        leads.append(inputs[:, 0] - inputs[:, 1])
        return identity(inputs)

    samples = torch.tensor([[start, 0.0, -9.0], [2 * start, 0.0, -9.0]])
    attack = BSSAttack(step='closest', step_size=0.8, overshoot=0.01, third_class=third_class)
    result = attack(model, samples, classes(0, 0), classes(1, 1))
    assert result.success.all()
    assert result.steps.tolist() == [3, 3]
    first = torch.tensor([start, 2 * start])
    path = [first, first - 0.8 * (first + 0.01), first - 1.1 * (first + 0.01)]
    # both pulled steps end at the same place, from where the margin along the ray is a line
    path += [path[-1], torch.full((2,), -0.01)]
    torch.testing.assert_close(torch.stack(leads), torch.stack(path), atol=1e-4, rtol=0)
    torch.testing.assert_close(
        class_lead(result.logits, classes(0, 0)), path[-1], rtol=1e-2, atol=0
    )


def test_closest_searches_also_after_a_single_step():
    samples = torch.tensor([[2.0, 0.0, -9.0]])
    attack = BSSAttack(step='closest', num_steps=1, step_size=0.8, overshoot=0.01)
    result = attack(identity, samples, classes(0), classes(1))
    assert result.steps.tolist() == [1]
    assert result.success.tolist() == [True]


@pytest.mark.parametrize(
    ('third_class', 'end', 'straight_end'),
    [
        ('accept', (1.75, 0.0, 1.75), (1.5, 0.5, 1.5)),
        ('avoid', (3.5 / 3, 3.5 / 3, 3.5 / 3), (0.5, 1.5, 1.5)),
    ],
)
def test_closest_turns_to_the_boundary_that_is_left(third_class, end, straight_end):
    # the third class is nearly as strong as the base class, the target far behind: the path
    # ends closer to the closest point than to where the way straight to the target crosses
    samples = torch.tensor([[2.0, 0.0, 1.5]])
    attack = BSSAttack(step='closest', step_size=0.8, overshoot=0.01, third_class=third_class)
    result = attack(identity, samples, classes(0), classes(1))
    assert result.success.tolist() == [True]
    shortest, straight = (
        (torch.tensor(point) - samples).norm().item() for point in (end, straight_end)
    )
    assert shortest < (result.samples - samples).norm().item() < (shortest + straight) / 2


# ---- refused ----------------------------------------------------------------------------------


def test_model_in_training_mode_is_refused(network, images):
    base, target = network(images).topk(2).indices.T
    with pytest.raises(ValueError, match='training mode'):
        BSSAttack()(network.train(), images, base, target)


@pytest.mark.parametrize(('num_base', 'num_target'), [(2, 3), (3, 2), (2, 2)])
def test_mismatched_shapes_are_refused(num_base, num_target):
    base = torch.zeros(num_base, dtype=torch.int64)
    target = torch.ones(num_target, dtype=torch.int64)
    with pytest.raises(ValueError, match='3 samples need'):
        BSSAttack()(identity, torch.zeros(3, 3), base, target)


@pytest.mark.parametrize(
    ('options', 'message'),
    [
        (dict(num_steps=0), 'num_steps'),
        (dict(step_size=0.0), 'step_size'),
        (dict(step_size=float('nan')), 'step_size'),
        (dict(overshoot=-1e-4), 'overshoot'),
        (dict(step='deepfool'), "'deepfool'"),
        (dict(step='closest', overshoot=0), 'overshoot'),
        (dict(step='closest', num_refinements=0), 'num_refinements'),
        (dict(third_class='keep'), 'third_class'),
    ],
)
def test_parameters_out_of_range_are_refused(options, message):
    with pytest.raises(ValueError, match=message):
        BSSAttack(**options)


def test_defaults_are_the_published_settings():
    attack = BSSAttack()
    assert (attack.num_steps, attack.step_size, attack.overshoot) == (10, 0.3, 1e-4)
    assert (attack.step, attack.third_class, attack.num_refinements) == ('published', 'reject', 8)


def test_ends_of_the_ranges_are_allowed():
    assert BSSAttack(num_steps=1, overshoot=0.0).overshoot == 0
    assert BSSAttack(step='closest', num_refinements=1).num_refinements == 1


# ---- the authors' teacher ---------------------------------------------------------------------


@pytest.fixture(scope='module')
def authors_teacher():
    if not TEACHER_FILE.exists() or not IMAGE_FILE.exists():
        pytest.skip(f'needs {TEACHER_FILE} and {IMAGE_FILE}')
    pytest.importorskip('safetensors', reason="the authors' teacher is a safetensors file")
    from mmbss.backbones import CIFARResNet

    convert = load_script(ROOT / 'tools' / 'convert_authors_checkpoint.py')
    state = convert.rename(convert.read_state(TEACHER_FILE))
    model = nn.ModuleDict(
        dict(backbone=CIFARResNet(depth=26), head=nn.ModuleDict(dict(fc=nn.Linear(64, 10))))
    )
    model.load_state_dict(state, strict=True)
    model.eval().requires_grad_(False)

    def logits(inputs):
        return model['head']['fc'](model['backbone'](inputs)[-1].mean(dim=(2, 3)))

    return logits


def test_parity_with_the_published_algorithm(authors_teacher):
    reference_attack = load_script(ROOT / 'benchmarks' / 'reference_attack.py').reference_attack
    content = np.load(IMAGE_FILE)
    mean, std = torch.tensor([0.4914, 0.4822, 0.4465]), torch.tensor([0.2023, 0.1994, 0.201])
    images = torch.from_numpy(content['images'][:128]).float() / 255
    samples = ((images - mean) / std).permute(0, 3, 1, 2).contiguous()
    with torch.no_grad():
        base, target = authors_teacher(samples).topk(2).indices.T
    accurate = (base == torch.from_numpy(content['labels'][:128])).float().mean()
    assert accurate > 0.85
    expected = reference_attack(authors_teacher, samples, base, target)
    result = BSSAttack()(authors_teacher, samples, base, target, (-2.5, 2.5))
    difference = (result.samples - expected).flatten(1).abs().amax(dim=1)
    assert (difference <= 1e-4).float().mean() >= 0.99
    assert difference.max() <= 0.05
