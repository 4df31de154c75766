import copy

import pytest
import torch
from mmengine.model import ExponentialMovingAverage
from mmpretrain.models.utils import ClsDataPreprocessor

from mmbss.attacks import BSSAttack
from mmbss.engine.errors import ConfigError
from mmbss.registry import MODELS
from mmbss.teachers import Teacher


@pytest.fixture
def make(build_model, resnet_config):
    """Build a teacher for a student with the given data preprocessor."""

    def make(teacher, **student_preprocessor):
        student = build_model(resnet_config(data_preprocessor=student_preprocessor))
        return Teacher(**teacher, student_preprocessor=student.data_preprocessor)

    return make


def rewrite(teacher, change):
    """Change the state dict in the teacher's checkpoint."""
    content = torch.load(teacher['checkpoint'])
    change(content['state_dict'])
    torch.save(content, teacher['checkpoint'])


# ---------------------------------------------------------------- loading


def test_weights_are_those_of_the_checkpoint(make, make_teacher):
    arguments = make_teacher()
    expected = torch.load(arguments['checkpoint'])['state_dict']
    state = make(arguments).network.state_dict()
    assert state.keys() == expected.keys()
    assert all(torch.equal(state[key], expected[key]) for key in state)


def test_state_dict_on_its_own_is_loaded_too(make, make_teacher):
    arguments = make_teacher()
    state = torch.load(arguments['checkpoint'])['state_dict']
    torch.save(state, arguments['checkpoint'])
    loaded = make(arguments).network.head.fc.weight
    assert torch.equal(loaded, state['head.fc.weight'])


def test_checkpoint_of_a_real_run_is_loaded(make, digits_teacher):
    assert make(digits_teacher).network.head.num_classes == 10


def test_checkpoint_is_loaded_from_a_url(make, make_teacher, serve, tmp_path):
    arguments = make_teacher()
    name = arguments['checkpoint'].rsplit('/', 1)[1]
    teacher = make(dict(arguments, checkpoint=f'{serve}/{name}'))
    expected = make(arguments)
    inputs = torch.randn(2, 1, 8, 8)
    assert torch.equal(teacher(inputs), expected(inputs))


def test_missing_key_is_named(make, make_teacher):
    arguments = make_teacher()
    rewrite(arguments, lambda state: state.pop('backbone.layer2.0.bn1.weight'))
    with pytest.raises(ValueError, match=r'missing.*backbone\.layer2\.0\.bn1\.weight'):
        make(arguments)


def test_missing_file_is_named(make, make_teacher, tmp_path):
    path = str(tmp_path / 'none.pth')
    with pytest.raises(FileNotFoundError, match=r'teacher\.checkpoint: no file .*none\.pth'):
        make(dict(make_teacher(), checkpoint=path))


@pytest.mark.parametrize(
    ('checkpoint', 'message'), [(None, 'random weights'), (3, 'must be the path or URL')]
)
def test_checkpoint_that_is_no_path_is_refused(make, make_teacher, checkpoint, message):
    with pytest.raises(ValueError, match=message):
        make(dict(make_teacher(), checkpoint=checkpoint))


def test_corrupt_file_is_named(make, make_teacher, tmp_path):
    path = tmp_path / 'corrupt.pth'
    path.write_bytes(b'no checkpoint')
    with pytest.raises(ValueError, match=r'teacher\.checkpoint: cannot read .*corrupt\.pth'):
        make(dict(make_teacher(), checkpoint=str(path)))


def test_file_without_a_state_dict_is_named(make, make_teacher, tmp_path):
    path = tmp_path / 'other.pth'
    torch.save(dict(epoch=3), path)
    with pytest.raises(ValueError, match=r'other\.pth does not fit teacher\.config'):
        make(dict(make_teacher(), checkpoint=str(path)))


def test_missing_url_is_named(make, make_teacher, serve):
    with pytest.raises(ValueError, match=r'teacher\.checkpoint: cannot download http.*none\.pth'):
        make(dict(make_teacher(), checkpoint=f'{serve}/none.pth'))


# ---------------------------------------------------------------- what a config may be


def test_distillers_config_stands_for_its_student(
    make, make_teacher, resnet_config, tmp_path, write_config
):
    distiller = dict(
        resnet_config(),
        type='mmbss.Distiller',
        teacher=dict(config='no/such.py', checkpoint='no/such.pth'),
        losses=dict(loss_kd=dict(type='mmbss.KDLoss')),
    )
    path = write_config(tmp_path / 'distiller.py', dict(model=distiller))
    checkpoint = make_teacher()['checkpoint']
    for config in (distiller, str(path)):
        teacher = make(dict(config=config, checkpoint=checkpoint))
        assert type(teacher.network).__name__ == 'ImageClassifier'


def test_mmpretrains_config_is_a_teacher(make_distiller, resnet_config, build_model, tmp_path):
    from mmbss.teachers.classifiers import load_model_config

    config = 'mmpretrain::resnet/resnet18_8xb16_cifar10.py'
    network = build_model(load_model_config(config))
    torch.save(network.state_dict(), tmp_path / 'r18.pth')
    student = resnet_config(
        in_channels=3,
        data_preprocessor=dict(mean=[125.307, 122.961, 113.8575], std=[51.5865, 50.847, 51.255]),
    )
    distiller = make_distiller(student, dict(config=config, checkpoint=str(tmp_path / 'r18.pth')))
    assert distiller.teacher.input_map.is_identity
    inputs = torch.randn(2, 3, 32, 32)
    with torch.no_grad():
        expected = network.eval()(inputs)
    torch.testing.assert_close(distiller.teacher(inputs), expected)


def test_own_configs_are_teachers(make_distiller, resnet_config, build_model, tmp_path):
    from mmbss.teachers.classifiers import load_model_config

    config = 'mmbss::baseline/resnet14_1xb64-30e_digits.py'
    network = build_model(load_model_config(config))
    torch.save(network.state_dict(), tmp_path / 'r14.pth')
    student = resnet_config(data_preprocessor=dict(mean=[77.9], std=[95.9]))
    distiller = make_distiller(student, dict(config=config, checkpoint=str(tmp_path / 'r14.pth')))
    assert distiller.teacher.input_map.is_identity


def test_the_callers_config_is_not_changed(make, make_teacher, resnet_config):
    config = resnet_config(data_preprocessor=dict(mean=[1.0], std=[2.0]))
    before = copy.deepcopy(config)
    make(make_teacher(config))
    assert config == before


# ---------------------------------------------------------------- frozen for good


def test_is_in_eval_mode_and_stays_there(make_distiller):
    distiller = make_distiller()
    for change in (distiller.train, distiller.eval, lambda: distiller.teacher.train(True)):
        change()
        assert not any(module.training for module in distiller.teacher.modules())
    distiller.train()
    assert distiller.training
    assert distiller.backbone.training


def test_dropout_of_the_teacher_is_off(make_distiller, make_teacher):
    config = dict(
        type='ImageClassifier',
        backbone=dict(type='mmbss.MLP', in_features=64, hidden=(32,), dropout=0.5),
        head=dict(type='LinearClsHead', num_classes=10, in_channels=32),
    )
    distiller = make_distiller(teacher=make_teacher(config))
    inputs = torch.randn(4, 1, 8, 8)
    assert torch.equal(distiller.teacher(inputs), distiller.teacher(inputs))


def test_training_steps_with_attacks_change_nothing_in_it(make_distiller, make_batch):
    distiller = make_distiller(favoured=0)
    before = copy.deepcopy(distiller.teacher.network.state_dict())
    own = distiller.backbone.conv1.weight.clone()
    optimizer = torch.optim.SGD(distiller.parameters(), lr=0.1, weight_decay=0.1)
    attacked = 0
    for _ in range(3):
        losses = distiller.loss(*make_batch([0] * 16))
        attacked += losses['bss_samples'].item()
        sum(value for name, value in losses.items() if 'loss' in name).backward()
        optimizer.step()
    assert attacked > 0
    assert not torch.equal(distiller.backbone.conv1.weight, own)
    after = distiller.teacher.network.state_dict()
    assert all(torch.equal(after[key], before[key]) for key in before)
    assert all(parameter.grad is None for parameter in distiller.teacher.parameters())


def test_attacks_leave_gradients_and_statistics_alone(make, make_teacher):
    teacher = make(make_teacher(favoured=0))
    before = copy.deepcopy(teacher.state_dict())
    base, target = torch.zeros(8, dtype=torch.int64), torch.ones(8, dtype=torch.int64)
    result = BSSAttack()(
        teacher.logits, torch.randn(8, 1, 8, 8), base, target, teacher.pixel_bounds
    )
    assert result.steps.sum() > 0
    assert not result.samples.requires_grad
    assert not result.logits.requires_grad
    assert all(parameter.grad is None for parameter in teacher.parameters())
    assert all(torch.equal(value, before[key]) for key, value in teacher.state_dict().items())


def test_no_parameter_asks_for_a_gradient(make, make_teacher):
    teacher = make(make_teacher())
    assert not any(parameter.requires_grad for parameter in teacher.parameters())
    assert not teacher(torch.randn(2, 1, 8, 8, requires_grad=True)).requires_grad


def test_gradient_of_the_input_can_be_asked_for(make, make_teacher):
    teacher = make(make_teacher())
    inputs = torch.randn(2, 1, 8, 8, requires_grad=True)
    (gradient,) = torch.autograd.grad(teacher.logits(inputs).sum(), inputs)
    assert gradient.abs().sum() > 0


# ---------------------------------------------------------------- outside the module tree


def test_is_no_part_of_the_student(make_distiller):
    distiller = make_distiller()
    members = {id(module) for module in distiller.teacher.modules()}
    weights = {id(parameter) for parameter in distiller.teacher.parameters()}
    assert not members & {id(module) for module in distiller.modules()}
    assert not weights & {id(parameter) for parameter in distiller.parameters()}
    assert not any('teacher' in name for name, _ in distiller.named_modules())
    assert not any('teacher' in key for key in distiller.state_dict())
    assert not any('teacher' in name for name, _ in distiller.named_buffers())


def test_follows_to_dtype(make_distiller):
    distiller = make_distiller()
    distiller.to(torch.float64)
    assert distiller.teacher(torch.randn(2, 1, 8, 8, dtype=torch.float64)).dtype is torch.float64
    assert distiller.teacher.input_map.lowest.dtype is torch.float64
    distiller.float()
    assert distiller.teacher(torch.randn(2, 1, 8, 8)).dtype is torch.float32


def test_follows_to_device(make_distiller):
    # the meta device is a device that every machine has
    distiller = make_distiller()
    distiller.to('meta')
    tensors = [*distiller.teacher.parameters(), *distiller.teacher.buffers()]
    assert {tensor.device.type for tensor in tensors} == {'meta'}


@pytest.mark.skipif(not torch.cuda.is_available(), reason='needs a GPU')
def test_follows_to_a_gpu_and_trains_there(make_distiller, make_batch):
    distiller = make_distiller(favoured=0).cuda()
    inputs, samples = make_batch([0] * 16)
    losses = distiller.loss(inputs.cuda(), [sample.cuda() for sample in samples])
    assert {value.device.type for value in losses.values()} == {'cuda'}
    assert losses['bss_samples'] > 0


def test_deepcopy_shares_it(make_distiller):
    distiller = make_distiller()
    twin = copy.deepcopy(distiller)
    assert twin.teacher is distiller.teacher
    assert twin.backbone is not distiller.backbone


def test_ema_copies_and_averages_the_student_alone(make_distiller, make_batch):
    distiller = make_distiller()
    ema = ExponentialMovingAverage(distiller, momentum=0.5)
    assert ema.module.teacher is distiller.teacher
    assert ema.module.state_dict().keys() == distiller.state_dict().keys()
    with torch.no_grad():
        distiller.head.fc.weight += 1
    ema.update_parameters(distiller)
    assert not any('teacher' in key for key in ema.state_dict())


# ---------------------------------------------------------------- normalisation


def colour_teacher(resnet_config, **preprocessor):
    return resnet_config(in_channels=3, data_preprocessor=preprocessor)


def logits_from_pixels(network, pixels):
    """What the network says by itself, with its own data preprocessor, to raw pixels."""
    with torch.no_grad():
        return network(network.data_preprocessor(dict(inputs=pixels))['inputs'])


STUDENT = dict(mean=[125.0, 120.0, 110.0], std=[50.0, 55.0, 60.0])


@pytest.mark.parametrize(
    ('teacher', 'student'),
    [
        (dict(mean=[100.0, 110.0, 120.0], std=[60.0, 50.0, 40.0]), STUDENT),
        (dict(), STUDENT),
        (dict(mean=[100.0, 110.0, 120.0], std=[60.0, 50.0, 40.0]), dict()),
        (dict(mean=[127.5], std=[127.5]), STUDENT),
        (STUDENT, STUDENT),
        (dict(STUDENT, to_rgb=True), dict(STUDENT, to_rgb=True)),
    ],
    ids=['both', 'student only', 'teacher only', 'one channel', 'same', 'same, both to RGB'],
)
def test_inputs_are_mapped_to_its_own_normalisation(
    make, make_teacher, resnet_config, teacher, student
):
    config = resnet_config(in_channels=3, data_preprocessor=dict(type='ClsDataPreprocessor'))
    config['data_preprocessor'].update(teacher)
    built = make(make_teacher(config), **student)
    student_preprocessor = type(built.network.data_preprocessor)(**student)
    pixels = torch.randint(256, (4, 3, 8, 8), dtype=torch.uint8)
    inputs = student_preprocessor(dict(inputs=pixels))['inputs'].float()
    expected = logits_from_pixels(built.network, pixels.float())
    torch.testing.assert_close(built(inputs), expected, rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(
        built.to_student(built.from_student(inputs)), inputs, rtol=1e-4, atol=1e-4
    )
    assert built.input_map.is_identity is (teacher == student)


def test_reversed_channels_are_turned(make, make_teacher, resnet_config):
    config = colour_teacher(
        resnet_config, mean=[100.0, 110.0, 120.0], std=[60.0, 50.0, 40.0], to_rgb=True
    )
    teacher = make(make_teacher(config, reverse_channels=True), **STUDENT)
    student = type(teacher.network.data_preprocessor)(**STUDENT)
    pixels = torch.randint(256, (4, 3, 8, 8), dtype=torch.uint8)
    inputs = student(dict(inputs=pixels))['inputs']
    expected = logits_from_pixels(teacher.network, pixels)
    torch.testing.assert_close(teacher(inputs), expected, rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(
        teacher.to_student(teacher.from_student(inputs)), inputs, rtol=1e-4, atol=1e-4
    )


def test_reversed_channels_with_equal_normalisation_are_turned(make, make_teacher, resnet_config):
    config = colour_teacher(resnet_config, mean=[127.5], std=[127.5])
    teacher = make(make_teacher(config, reverse_channels=True), mean=[127.5], std=[127.5])
    inputs = torch.randn(4, 3, 8, 8)
    with torch.no_grad():
        expected = teacher.network(inputs.flip(1))
    torch.testing.assert_close(teacher(inputs), expected)


def test_unclear_order_of_channels_is_refused(make, make_teacher, resnet_config):
    arguments = make_teacher(colour_teacher(resnet_config, **STUDENT, to_rgb=True))
    with pytest.raises(ValueError, match=r'to_rgb=True.*to_rgb=False: set teacher\.reverse_chann'):
        make(arguments, **STUDENT)


CAFFE = dict(mean=[103.53, 116.28, 123.675], std=[1.0] * 3)
CIFAR = dict(mean=[125.307, 122.961, 113.8575], std=[51.5865, 50.847, 51.255])


@pytest.mark.parametrize(
    ('own', 'of_student', 'is_reversed'),
    [
        (CAFFE, CIFAR, True),  # BGR of files, RGB of arrays
        (CIFAR, CAFFE, True),
        (CIFAR, dict(CIFAR, to_rgb=True), False),
        (dict(CIFAR, to_rgb=True), CIFAR, False),
        (CAFFE, CAFFE, False),
    ],
)
def test_means_of_photographs_tell_the_order_of_channels(
    make, make_teacher, resnet_config, own, of_student, is_reversed
):
    teacher = make(make_teacher(colour_teacher(resnet_config, **own)), **of_student)
    assert teacher.input_map.reverse_channels is is_reversed


def test_a_teacher_that_pads_is_refused_unless_the_student_does(make, make_teacher, resnet_config):
    arguments = make_teacher(colour_teacher(resnet_config, **CIFAR, pad_size_divisor=32))
    with pytest.raises(ConfigError, match='pad_size_divisor=32'):
        make(arguments, **CIFAR)
    make(arguments, **CIFAR, pad_size_divisor=32)


def test_said_order_of_channels_is_believed(make, make_teacher, resnet_config):
    arguments = make_teacher(colour_teacher(resnet_config, **STUDENT, to_rgb=True))
    teacher = make(dict(arguments, reverse_channels=False), **STUDENT)
    assert teacher.input_map.is_identity


def test_without_a_preprocessor_it_is_normalised_like_the_student(make, make_teacher):
    teacher = make(make_teacher(), mean=[100.0], std=[50.0])
    assert teacher.input_map.is_identity
    torch.testing.assert_close(teacher.input_map.lowest.flatten(), torch.tensor([-2.0]))
    torch.testing.assert_close(teacher.input_map.highest.flatten(), torch.tensor([3.1]))


class Unit(ClsDataPreprocessor):
    """Divides by 255 before it normalises."""

    def forward(self, data, training=False):
        return super().forward(dict(data, inputs=data['inputs'].float() / 255), training)


@pytest.fixture
def make_unit(make_teacher, resnet_config, monkeypatch):
    """Build a teacher, perhaps with such a preprocessor, for a student that may have one too."""
    monkeypatch.setitem(MODELS.module_dict, 'Unit', Unit)

    def make(student, preprocessor, **keys):
        config = resnet_config(data_preprocessor=dict(preprocessor))
        return Teacher(**make_teacher(config, **keys), student_preprocessor=student)

    return make


KNOWN = dict(type='ClsDataPreprocessor', mean=[1.0], std=[2.0])


@pytest.mark.parametrize('preprocessor', [KNOWN, dict(type='ClsDataPreprocessor')])
def test_a_student_of_which_nobody_knows_what_it_gets_is_refused(make_unit, preprocessor):
    with pytest.raises(ConfigError, match=r'^data_preprocessor: Unit does something else'):
        make_unit(Unit(), preprocessor)


def test_a_teacher_of_which_nobody_knows_what_it_wants_is_refused(make_unit):
    own = dict(type='mmbss.Unit')
    with pytest.raises(ConfigError, match=r'^teacher\.config\.data_preprocessor: Unit does'):
        make_unit(ClsDataPreprocessor([1.0], [2.0]), own)
    make_unit(ClsDataPreprocessor([1.0], [2.0]), own, mean=[0.0], std=[255.0])
    with pytest.raises(ConfigError, match=r'^data_preprocessor: Unit does something else'):
        make_unit(Unit([0.5], [0.2]), own)


def test_teacher_and_student_may_share_what_nobody_knows(make_unit, make_teacher):
    inputs = torch.randn(2, 1, 8, 8)
    shared = make_unit(Unit([0.5], [0.2]), dict(type='mmbss.Unit', mean=[0.5], std=[0.2]))
    assert torch.equal(shared.from_student(inputs), inputs)
    without = Teacher(lambda images: images.flatten(1), student_preprocessor=Unit())
    assert torch.equal(without.from_student(inputs), inputs)


def test_pixel_bounds_are_black_and_white_in_its_own_units(make, make_teacher, resnet_config):
    mean, std = [100.0, 110.0, 120.0], [60.0, 50.0, 40.0]
    teacher = make(make_teacher(colour_teacher(resnet_config, mean=mean, std=std)), **STUDENT)
    preprocessor = teacher.network.data_preprocessor
    for value, bound in zip((0, 255), teacher.pixel_bounds, strict=True):
        pixels = torch.full((1, 3, 1, 1), float(value))
        expected = preprocessor(dict(inputs=pixels))['inputs'][0]
        torch.testing.assert_close(bound, expected)


# ---------------------------------------------------------------- refused models


def test_teacher_without_a_head_is_refused(make, make_teacher, resnet_config):
    config = resnet_config()
    config.pop('head')
    with pytest.raises(ValueError, match='the teacher has no head, so no logits'):
        make(make_teacher(config))


def test_multi_label_teacher_is_refused(make, make_teacher, resnet_config):
    config = resnet_config()
    config['head'] = dict(type='MultiLabelLinearClsHead', num_classes=10, in_channels=8)
    with pytest.raises(ValueError, match='the teacher has a MultiLabelLinearClsHead'):
        make(make_teacher(config))


def test_teacher_that_puts_out_no_logits_is_refused(make, make_teacher, resnet_config):
    config = resnet_config()
    config['head'] = dict(type='ClsHead')
    teacher = make(make_teacher(config))
    teacher.network.head.forward = lambda feats: (feats, feats)
    with pytest.raises(ValueError, match="the teacher's ClsHead puts out no"):
        teacher(torch.randn(2, 1, 8, 8))
