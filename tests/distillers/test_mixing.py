"""Mixup and CutMix beside terms that want the images as they were."""

import copy
from types import SimpleNamespace

import pytest
import torch
from mmengine.optim import OptimWrapper
from mmpretrain.engine.hooks import SwitchRecipeHook
from mmpretrain.structures import DataSample

from mmbss.distillers.mixing import Later, mix
from mmbss.engine.randomness import seed_everything
from mmbss.losses import Term

AUGMENTS = [dict(type='Mixup', alpha=0.8), dict(type='CutMix', alpha=1.0)]
TEACHER_ALONE = dict(candidates='teacher_correct', train_on='all', base_samples='all')


@pytest.fixture
def mixing_student(resnet_config):
    return resnet_config(
        data_preprocessor=dict(
            type='mmbss.AugmentingDataPreprocessor',
            num_classes=10,
            mean=[77.9],
            std=[95.9],
            crop_padding=1,
        ),
        train_cfg=dict(augments=AUGMENTS),
    )


@pytest.fixture
def make_data():
    def make(labels):
        images = torch.randint(256, (len(labels), 1, 8, 8), dtype=torch.uint8)
        return dict(
            inputs=images, data_samples=[DataSample().set_gt_label(label) for label in labels]
        )

    return make


class Looks(Term):
    """Remembers the batch."""

    def __init__(self, needs_unmixed):
        super().__init__()
        self.needs_unmixed = needs_unmixed
        self.seen = []

    def compute(self, batch):
        self.seen.append(batch)
        return batch.student_logits.sum(), {}


def as_mmpretrain_mixes(distiller):
    """The same distiller, whose data preprocessor mixes as it would in a plain classifier."""
    other = copy.deepcopy(distiller)
    other.data_preprocessor._forward_pre_hooks.clear()
    other.data_preprocessor.batch_augments = other.batch_augments
    return other


def test_the_weights_are_those_of_a_preprocessor_that_mixes(
    make_distiller, mixing_student, make_data
):
    ours = make_distiller(mixing_student, type='mmbss.Distiller')
    theirs = as_mmpretrain_mixes(ours)
    assert theirs.batch_augments is None
    batches = [make_data(range(8)) for _ in range(4)]
    for model in (ours, theirs):
        optimizer = OptimWrapper(torch.optim.SGD(model.parameters(), lr=0.05))
        for index, batch in enumerate(copy.deepcopy(batches)):
            seed_everything(index)
            model.train_step(batch, optimizer)
    assert all(map(torch.equal, ours.state_dict().values(), theirs.state_dict().values()))


def loss_of(distiller, data):
    return distiller.loss(**distiller.data_preprocessor(data, training=True))


@pytest.mark.parametrize('which', [0, 1], ids=['mixup', 'cutmix'])
def test_who_needs_it_gets_the_batch_before_it_was_mixed(
    make_distiller, mixing_student, make_data, count_calls, which
):
    distiller = make_distiller(mixing_student, type='mmbss.Distiller')
    questions = count_calls(distiller.teacher, 'logits')
    term = distiller.terms['loss_looks'] = Looks(needs_unmixed=False)
    loss_of(distiller, make_data(range(8)))
    assert term.seen[0].unmixed is None
    assert len(questions) == 1

    term.needs_unmixed = True
    distiller.batch_augments.augments = [distiller.batch_augments.augments[which]]
    batch = distiller.data_preprocessor(make_data(range(8)), training=True)
    given = batch['inputs'].clone()
    distiller.loss(**batch)
    mixed, unmixed = term.seen[1], term.seen[1].unmixed
    assert len(questions) == 3
    assert torch.equal(unmixed.inputs, given)
    assert not torch.equal(mixed.inputs, unmixed.inputs)
    assert unmixed.labels.tolist() == list(range(8))
    assert torch.equal(unmixed.teacher_logits, distiller.teacher(unmixed.inputs))
    assert torch.equal(mixed.teacher_logits, distiller.teacher(mixed.inputs))
    assert all(sample.gt_score.max() == 1 for sample in batch['data_samples'])


def switch(model, augments):
    runner = SimpleNamespace(model=model)
    recipe = dict(action_epoch=1, batch_augments=augments)
    (recipe,) = SwitchRecipeHook([recipe]).schedule.values()
    SwitchRecipeHook._switch_batch_augments(runner, recipe['batch_augments'])


@pytest.mark.parametrize(
    ('given', 'handed_on'), [(torch.int64, torch.float32), (torch.float64, torch.float64)]
)
def test_shares_that_wait_to_be_mixed_lose_no_digits(given, handed_on):
    scores = torch.ones(2, 3, dtype=given)
    assert Later(None)(torch.zeros(2), scores)[1].dtype == handed_on


def test_a_recipe_ends_the_mixing_and_begins_another(make_distiller, mixing_student, make_data):
    distiller = make_distiller(mixing_student, type='mmbss.Distiller')
    term = distiller.terms['loss_looks'] = Looks(needs_unmixed=True)
    for augments in (None, dict(augments=AUGMENTS[0]), None):
        switch(distiller, augments)
        loss_of(distiller, make_data(range(8)))
    assert [batch.unmixed is None for batch in term.seen] == [True, False, True]


def test_a_recipe_begins_to_mix_where_nothing_was_mixed(make_distiller, mixing_student, make_data):
    mixing_student.pop('train_cfg')
    distiller = make_distiller(mixing_student, type='mmbss.Distiller')
    term = distiller.terms['loss_looks'] = Looks(needs_unmixed=False)
    loss_of(distiller, make_data(range(8)))
    switch(distiller, dict(augments=AUGMENTS[0]))
    loss_of(distiller, make_data(range(8)))
    inputs = [batch.inputs for batch in term.seen]
    assert not torch.equal(*inputs)


def test_a_batch_that_is_left_as_it_is_is_asked_about_once(
    make_distiller, mixing_student, make_data, count_calls
):
    mixing_student['train_cfg']['probs'] = [0.0, 0.0]
    distiller = make_distiller(mixing_student, type='mmbss.Distiller')
    term = distiller.terms['loss_looks'] = Looks(needs_unmixed=True)
    questions = count_calls(distiller.teacher, 'logits')
    loss_of(distiller, make_data(range(8)))
    assert term.seen[0].unmixed is None
    assert len(questions) == 1


@pytest.mark.parametrize('batch_norm', ['joint', 'own'])
def test_boundary_samples_are_looked_for_among_unmixed_images(
    make_distiller, mixing_student, make_data, boundary_config, monkeypatch, batch_norm
):
    boundary = boundary_config(**TEACHER_ALONE, batch_norm=batch_norm)
    distiller = make_distiller(mixing_student, boundary=boundary, favoured=3)
    attacked, passed = [], []
    attack = distiller.terms['loss_bss'].attack
    monkeypatch.setattr(type(attack), 'walk', recording(type(attack).walk, attacked), raising=True)
    distiller.backbone.register_forward_pre_hook(lambda module, args: passed.append(args[0]))
    batch = distiller.data_preprocessor(make_data([3] * 8), training=True)
    losses = distiller.loss(**batch)
    assert losses['bss_samples'] == 8
    assert all((image == batch['inputs']).flatten(1).all(1).any() for image in attacked[0])
    # what joins does so with the mixed batch
    assert not torch.equal(passed[0][:8], batch['inputs'])
    assert [len(each) for each in passed] == ([16] if batch_norm == 'joint' else [8, 8])


def recording(function, calls):
    def record(self, model, samples, *args, **kwargs):
        calls.append(samples.clone())
        return function(self, model, samples, *args, **kwargs)

    return record


def test_images_without_labels_are_mixed_too(make_distiller, mixing_student, make_data):
    mixing_student['head']['loss'] = dict(type='CrossEntropyLoss', loss_weight=0.0)
    distiller = make_distiller(mixing_student, type='mmbss.Distiller')
    term = distiller.terms['loss_looks'] = Looks(needs_unmixed=True)
    data = dict(make_data(range(8)), data_samples=[DataSample() for _ in range(8)])
    losses = loss_of(distiller, data)
    (batch,) = term.seen
    assert not torch.equal(batch.inputs, batch.unmixed.inputs)
    assert batch.labels is batch.unmixed.labels is None
    assert losses['loss_kd'] > 0


def test_samples_stay_as_they_are():
    samples = [DataSample().set_gt_label(k).set_gt_score(torch.eye(2)[k]) for k in (0, 1)]
    inputs, mixed = mix(lambda images, scores: (images / 2, scores / 2), torch.ones(2, 1), samples)
    assert inputs.tolist() == [[0.5], [0.5]]
    assert [sample.gt_score.tolist() for sample in mixed] == [[0.5, 0], [0, 0.5]]
    assert [sample.gt_score.tolist() for sample in samples] == [[1, 0], [0, 1]]
    assert [sample.gt_label.tolist() for sample in mixed] == [[0], [1]]
