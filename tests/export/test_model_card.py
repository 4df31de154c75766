import pytest
from mmengine.config import Config

from mmbss.export.export import trained_of
from mmbss.export.model_card import accuracy_of, data_of, items, licence_of, lines_of_training
from mmbss.studies.run_logs import LoggedRun


def test_what_is_not_known_is_said_to_be_so():
    text = items(lines_of_training(Config(dict(model=dict(type='ImageClassifier'))), None, {}))
    for known in ('data', 'tested on', 'length', 'seed', 'commit of the training'):
        assert f'- {known}: unknown' in text
    assert 'teacher' not in text


def test_teachers_terms_and_schedules_are_named():
    teachers = [dict(config='timm:nothing', checkpoint='a.pth'), dict(config=dict(type='X'))]
    model = dict(
        teacher=dict(config=teachers),
        losses=dict(
            loss_kd=dict(type='mmbss.KDLoss', temperature=4.0),
            loss_bss=dict(type='mmbss.BoundaryLoss', num_base_samples=8),
        ),
    )
    hooks = dict(bss=dict(schedules=dict(loss_kd=dict(start=4.0, end=1.0))))
    config = Config(dict(model=model, default_hooks=hooks, train_cfg=dict(max_iters=7)))
    text = items(lines_of_training(config, None, {}))
    assert '- teacher: timm:nothing, weights a.pth' in text
    assert '- teacher: a model given in the config itself, weights of its source' in text
    assert text.count('licence of its weights: unknown') == 2
    assert '- loss_kd: KDLoss (temperature=4.0)' in text
    assert '- loss_bss: BoundaryLoss (num_base_samples=8)' in text
    assert '- weight of loss_kd: start=4.0, end=1.0' in text
    assert '- length: max_iters=7' in text


def test_data_is_named_from_the_outside_in():
    inner = dict(type='mmbss.Digits', split='train', pipeline=[1], indices=None)
    loader = dict(dataset=dict(type='Part', fraction=0.5, dataset=inner))
    assert data_of(loader) == 'Part (fraction=0.5) of Digits (split=train)'
    assert data_of(None) == 'unknown'


def test_licences_as_far_as_libraries_name_them(tmp_path):
    pytest.importorskip('timm')
    assert licence_of('timm:vit_base_patch16_224.augreg_in21k') == 'apache-2.0'
    assert licence_of('timm:nothing') is None
    (tmp_path / 'README.md').write_text('---\nlicense: mit\n---\n# A model\nlicense: other\n')
    assert licence_of(f'hf:{tmp_path}') == 'mit'
    assert licence_of('hf:someone/else') is None
    assert licence_of('mmpretrain::resnet/resnet50_8xb32_in1k.py') is None
    assert licence_of(dict(type='ImageClassifier')) is None


META = dict(epoch=2, fingerprint={'iterations of an epoch': '6'})


def test_accuracy_is_that_of_the_same_weights(tmp_path):
    records = [dict(step=step, accuracy=10.0 * step, time=9.0) for step in (1, 2, 3)]
    run = LoggedRun('run', tmp_path, 0, Config(), [dict(epoch=1)], records)
    text = accuracy_of(run, dict(epoch=2, iter=99))
    assert 'after epoch 2' in text
    assert '| accuracy | 20 |' in text
    assert 'time' not in text
    for unknown in ((run, dict(epoch=7)), (run, {}), (None, dict(epoch=2))):
        assert 'unknown' in accuracy_of(*unknown)
    whole, middle = (dict(trained_of(META), iter=count) for count in (12, 14))
    assert 'after epoch 2' in accuracy_of(run, whole)
    assert 'unknown' in accuracy_of(run, middle)
