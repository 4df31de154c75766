import logging
from contextlib import nullcontext
from datetime import timedelta
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from mmengine.registry import DefaultScope
from mmengine.runner import Runner
from mmpretrain.engine.hooks import SwitchRecipeHook

from mmbss.datasets import Digits
from mmbss.engine.errors import ConfigError
from mmbss.hooks import TeacherCacheHook
from mmbss.teachers import Teacher

DIGITS = dict(type='mmbss.Digits', split='train', indices=96)
FLIP = [dict(type='RandomFlip', prob=0.5), dict(type='PackInputs')]


def loader_config(dataset=DIGITS):
    return dict(
        batch_size=32,
        num_workers=0,
        dataset=dataset,
        sampler=dict(type='DefaultSampler', shuffle=True),
        collate_fn=dict(type='default_collate'),
    )


@pytest.fixture
def file(tmp_path):
    return tmp_path / 'cache' / 'logits.npz'


@pytest.fixture
def teacher(make_teacher):
    return make_teacher()


@pytest.fixture
def model_config(resnet_config, teacher):
    def make(**changes):
        losses = dict(loss_kd=dict(type='mmbss.KDLoss', temperature=20.0, scale_by_t2=True))
        model = dict(resnet_config(), type='mmbss.Distiller', teacher=teacher, losses=losses)
        return dict(model, **changes)

    return make


@pytest.fixture
def start(build_model, model_config, run_settings, file):
    """Do what the hook does before training; gives the distiller."""
    plain = run_settings('unused', {})['data_preprocessor']

    def start(dataset=DIGITS, preprocessor=None, hooks=(), **model):
        config = model_config(data_preprocessor=dict(plain, **(preprocessor or {})), **model)
        model = build_model(config)
        with DefaultScope.overwrite_default_scope('mmpretrain'):
            loader = Runner.build_dataloader(loader_config(dataset))
        runner = SimpleNamespace(
            model=model,
            train_dataloader=loader,
            logger=logging.getLogger(__name__),
            hooks=[*hooks],
        )
        TeacherCacheHook(str(file)).before_train(runner)
        return model

    return start


@pytest.fixture
def rows():
    """All training samples."""
    dataset = Digits(split='train', indices=96)
    return [dataset[row] for row in range(96)]


# ---------------------------------------------------------------- training


@pytest.fixture
def make_run(make_runner, model_config, file):
    """Build the runner of two epochs of distillation, by default with the cache."""

    def make(cached=True, **changes):
        hooks = [dict(type='mmbss.TeacherCacheHook', file=str(file))] if cached else []
        return make_runner(
            model_config(), train_dataloader=loader_config(), custom_hooks=hooks, **changes
        )

    return make


def weights(runner):
    return torch.cat([weight.detach().flatten() for weight in runner.model.parameters()])


def test_training_is_as_without_the_cache_and_asks_the_teacher_once(
    make_run, tmp_path, count_calls
):
    runs = []
    resume = dict(load_from=str(tmp_path / 'run_2' / 'epoch_1.pth'), resume=True)
    for expected, changes in ((6, dict(cached=False)), (3, {}), (1, resume)):
        runs.append(make_run(**changes))
        calls = count_calls(runs[-1].model.teacher, 'logits')
        runs[-1].train()
        assert len(calls) == expected
    plain, first, resumed = runs
    assert torch.allclose(weights(first), weights(plain), atol=1e-4)
    assert torch.equal(weights(first), weights(resumed))


def test_a_run_with_augmentation_ends_before_it_starts(make_run, run_settings, file):
    plain = run_settings('unused', {})['data_preprocessor']
    runner = make_run(data_preprocessor=dict(plain, crop_padding=2))
    with pytest.raises(ValueError, match=r'TeacherCacheHook, .* without augmentation'):
        runner.train()
    assert runner.iter == 0
    # the file that it has made is of no use to anyone
    assert not file.exists()


def test_an_attack_still_asks_the_teacher(start, rows, boundary_config, count_calls):
    model = start(losses=dict(loss_kd=dict(type='mmbss.KDLoss'), loss_bss=boundary_config()))
    model.head.load_state_dict(model.teacher.network.head.state_dict())
    model.backbone.load_state_dict(model.teacher.network.backbone.state_dict())
    batch = model.data_preprocessor(dict(inputs=[r['inputs'] for r in rows], data_samples=None))
    samples = [row['data_samples'] for row in rows]
    with torch.no_grad():
        decisions = model.teacher(batch['inputs']).argmax(1)
    for sample, decision in zip(samples, decisions, strict=True):
        sample.set_gt_label(int(decision))
    model.eval()
    calls = count_calls(model.teacher, 'logits')
    losses = model.loss(batch['inputs'], samples)
    assert losses['bss_samples'] > 0
    assert len(calls) > 0
    assert all(len(inputs) <= 8 for inputs, *_ in calls)


# ---------------------------------------------------------------- the file


def test_the_file_holds_the_logits_of_each_row(start, rows, file):
    model = start()
    with np.load(file, allow_pickle=False) as content:
        assert content['rows'].tolist() == list(range(96))
        logits = torch.from_numpy(content['logits'])
    for row in (0, 41, 95):
        batch = dict(inputs=[rows[row]['inputs']], data_samples=None)
        inputs = model.data_preprocessor(batch)['inputs']
        assert torch.allclose(model.teacher(inputs)[0], logits[row], atol=1e-4)


@pytest.mark.parametrize(
    'part',
    [
        dict(type='mmbss.ClassSubset', dataset=DIGITS, drop=[3]),
        dict(type='mmbss.ClassSubset', dataset=DIGITS, keep=[7, 8]),
        dict(type='mmbss.StratifiedSubset', dataset=DIGITS, fraction=0.5),
        dict(DIGITS, indices=50),
        dict(type='RepeatDataset', dataset=DIGITS, times=2),
    ],
)
def test_a_part_of_the_training_set_uses_the_file_of_the_whole(start, part, file):
    start()
    written = file.read_bytes()
    start(dataset=part)
    assert file.read_bytes() == written


def test_the_whole_does_not_use_the_file_of_a_part(start, file):
    start(dataset=dict(DIGITS, indices=50))
    with pytest.raises(ValueError, match=r'logits\.npz: .* lacks .* smaller training set'):
        start()
    assert file.is_file()


# ---------------------------------------------------------------- what does not belong


@pytest.mark.parametrize(
    'augmented',
    [
        dict(preprocessor=dict(crop_padding=2)),
        dict(preprocessor=dict(flip_probability=0.2)),
        dict(dataset=dict(DIGITS, pipeline=FLIP)),
        dict(train_cfg=dict(augments=dict(type='Mixup', alpha=0.8))),
        # two samples of one index
        dict(dataset=dict(type='ConcatDataset', datasets=[DIGITS, dict(DIGITS, indices=-96)])),
    ],
    ids=['crop', 'flip', 'transform', 'mixup', 'shared_index'],
)
@pytest.mark.parametrize('made', [False, True])
def test_inputs_that_vary_are_refused(start, augmented, made, file):
    if made:
        start()
    with pytest.raises(ValueError, match=r'logits\.npz: .* without augmentation'):
        start(**augmented)
    assert file.is_file() == made


@pytest.mark.parametrize(
    ('recipe', 'is_refused'),
    [
        (dict(batch_augments=dict(augments=dict(type='Mixup', alpha=0.8))), True),
        (dict(train_pipeline=[dict(type='PackInputs')]), True),
        (dict(loss=dict(type='LabelSmoothLoss', label_smooth_val=0.1)), False),
    ],
)
def test_recipes_that_change_the_images_later_are_refused(start, recipe, is_refused):
    with DefaultScope.overwrite_default_scope('mmpretrain'):
        hook = SwitchRecipeHook([dict(recipe, action_epoch=3)])
    with pytest.raises(ConfigError, match='SwitchRecipeHook') if is_refused else nullcontext():
        start(hooks=[hook])


def test_another_teacher_is_noticed(start, teacher, make_teacher, resnet_config, file):
    start()
    written = file.read_bytes()
    own = dict(resnet_config(), data_preprocessor=dict(mean=[0.0], std=[1.0]))
    for other in (
        make_teacher(),
        dict(teacher, config=own),
        dict(teacher, acceleration=dict(fuse_bn=True)),
    ):
        with pytest.raises(ValueError, match='holds the logits of another teacher'):
            start(teacher=other)
    assert file.read_bytes() == written


@pytest.mark.parametrize(
    'other',
    [dict(dataset=dict(DIGITS, split='test')), dict(preprocessor=dict(mean=[70.0]))],
    ids=['data', 'normalisation'],
)
def test_another_dataset_or_normalisation_is_noticed(start, other):
    start()
    with pytest.raises(ValueError, match=r'another teacher|if data or normalisation have changed'):
        start(**other)


def test_images_that_are_not_finite_are_refused(start, file):
    with pytest.raises(ValueError, match='32 of 32 images hold NaN or infinity'):
        start(preprocessor=dict(std=[0.0], mean=[1.0]))
    assert not file.exists()


def test_a_plain_classifier_is_refused(build_model, resnet_config, file):
    runner = SimpleNamespace(model=build_model(resnet_config()))
    with pytest.raises(ValueError, match='needs a distiller, but the model is a ImageClassifier'):
        TeacherCacheHook(str(file)).before_train(runner)


def test_a_file_of_another_kind_is_refused(start, file):
    with pytest.raises(ValueError, match=r'must end in \.npz'):
        TeacherCacheHook('logits.pth')
    file.parent.mkdir()
    file.write_text('something')
    with pytest.raises(ValueError, match='is no cache of teacher logits'):
        start()


# ---------------------------------------------------------------- teachers of other kinds


def decide(images):
    """A teacher that is a function."""
    return images.detach().flatten(1)[:, 20:30]


def test_an_ensemble_with_a_function_is_known_by_its_members(start, rows, file, teacher):
    members = [dict(teacher), dict(config=decide, input_size=9)]
    model = start(teacher=dict(config=members))
    inputs = model.data_preprocessor(dict(inputs=[row['inputs'] for row in rows]))['inputs']
    samples = [row['data_samples'] for row in rows]
    torch.testing.assert_close(
        model.teacher(inputs, samples), model.teacher(inputs), rtol=1e-4, atol=1e-4
    )
    start(teacher=dict(config=[dict(each) for each in members]))
    others = [dict(teacher), dict(config=decide, input_size=10)]
    with pytest.raises(ValueError, match='logits of another teacher'):
        start(teacher=dict(config=others))


def test_a_teacher_of_the_same_name_that_answers_otherwise_is_noticed(start, teacher, monkeypatch):
    start()
    ask = Teacher.logits
    # as a function behind which another network stands
    monkeypatch.setattr(Teacher, 'logits', lambda self, inputs: ask(self, inputs).roll(1, dims=1))
    with pytest.raises(ValueError, match='does not give the logits that are stored'):
        start()
    # of another precision
    monkeypatch.setattr(Teacher, 'logits', lambda self, inputs: ask(self, inputs).bfloat16())
    start()


def test_other_processes_wait_as_long_as_the_first_computes(start, monkeypatch):
    waits = []
    monkeypatch.setattr('mmbss.hooks.teacher_cache_hook.is_distributed', lambda: True)
    monkeypatch.setattr('torch.distributed.new_group', lambda **given: given)
    monkeypatch.setattr('mmbss.hooks.teacher_cache_hook.barrier', waits.append)
    start()
    (group,) = waits
    assert group['timeout'] > timedelta(days=1)
    assert group['backend'] == 'gloo'
