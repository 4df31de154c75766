import pytest
import torch
from small_classifiers import CLASSIFIERS


@pytest.fixture
def images(make_batch):
    """Make a batch of images of class 0 that are not negative, as pixels are."""

    def make(size):
        inputs, data_samples = make_batch([0] * size, channels=3, size=32)
        return inputs.abs(), data_samples

    return make


@pytest.fixture
def reusing(make_distiller, small_colour, boundary_config, make_teacher):
    """Two equal distillers, the second of which records the clean pass of its teacher."""

    def make(teacher=None, boundary=None, **changes):
        teacher = make_teacher(teacher or small_colour, favoured=0)
        plain, reuse = (
            make_distiller(
                student=small_colour,
                teacher=teacher,
                favoured=0,
                boundary=boundary_config(reuse_clean_pass=reuse, **(boundary or {})),
                **changes,
            )
            for reuse in (False, True)
        )
        reuse.load_state_dict(plain.state_dict())
        for distiller in (plain, reuse):
            # rounding differs with the size of a batch, and each step of an attack amplifies it
            distiller.teacher.network.double()
        return plain, reuse

    return make


def check_same_losses(plain, reuse, batch):
    losses = []
    for distiller in (plain, reuse):
        torch.manual_seed(0)
        losses.append(distiller.loss(*batch))
    assert losses[0].keys() == losses[1].keys()
    assert losses[0]['bss_samples'] > 0
    for name, value in losses[0].items():
        assert torch.allclose(value, losses[1][name], atol=1e-5), name


@pytest.mark.parametrize('classifier', ['resnet18', 'mobilenet_v2', 'vit', 'convnext'])
def test_losses_are_the_same_when_the_clean_pass_is_reused(reusing, images, classifier):
    plain, reuse = reusing(teacher=CLASSIFIERS[classifier])
    check_same_losses(plain, reuse, images(10))


@pytest.mark.parametrize(
    'boundary',
    [
        dict(target_class='all', min_target_probability=0.05),
        dict(batch_norm='joint'),
        dict(attack=dict(type='mmbss.BSSAttack', step='newton', step_size=1.0)),
        dict(attack=dict(type='mmbss.BSSAttack', step='closest', overshoot=0.01)),
        dict(attack=dict(type='mmbss.FGSMAttack', radius=4.0)),
    ],
    ids=['all classes', 'joint', 'newton', 'closest', 'fgsm'],
)
def test_the_clean_pass_is_reused_by_every_search(reusing, images, boundary):
    plain, reuse = reusing(boundary=boundary)
    check_same_losses(plain, reuse, images(10))


def test_the_clean_pass_is_reused_by_a_teacher_of_another_normalisation(
    reusing, images, small_colour
):
    teacher = dict(small_colour, data_preprocessor=dict(mean=[90.0] * 3, std=[70.0] * 3))
    plain, reuse = reusing(teacher=teacher)
    check_same_losses(plain, reuse, images(10))


def test_the_attack_does_not_ask_about_its_base_samples_again(reusing, images, count_calls):
    batch = images(10)
    plain, reuse = reusing()
    reuse.loss(*batch)  # traces
    asked = []
    for distiller in (plain, reuse):
        calls = count_calls(distiller.teacher.network, 'forward')
        torch.manual_seed(0)
        distiller.loss(*batch)
        asked.append([len(call[0]) for call in calls])
    samples = min(8, len(batch[1]))
    assert asked[0][:2] == [10, samples]
    # what follows is answered by the traced graphs too
    assert asked[1] == []


def test_nothing_is_recorded_where_no_attack_follows(reusing, images, count_calls):
    _, reuse = reusing()
    recorded = count_calls(reuse.teacher, 'record')
    reuse.boundary_loss.loss_weight = 0.0
    reuse.loss(*images(4))
    reuse.boundary_loss.loss_weight = 1.0
    reuse.eval().loss(*images(1))  # too few for a batch dimension
    assert not recorded
    reuse.loss(*images(4))
    assert len(recorded) == 1
    assert reuse.recorded is None


def test_the_clean_pass_of_a_compiled_network_is_reused(reusing, images):
    plain, reuse = reusing(compile=True)
    check_same_losses(plain, reuse, images(10))
    (halves,) = reuse.teacher.pass_recorder.traced.values()
    assert 'OptimizedModule' in type(halves.forward).__name__
