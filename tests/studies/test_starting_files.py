import hashlib

import numpy as np
import pytest

from mmbss.studies.starting_files import differences_of, digest_of_start, digest_of_teachers


@pytest.mark.parametrize('scheme', ['hf', 'timm'])
def test_a_folder_is_known_by_what_lies_in_it(scheme, tmp_path):
    teacher = dict(config=f'{scheme}:{tmp_path}')
    assert digest_of_teachers([teacher]) is None
    for name in ('config.json', 'model.safetensors'):
        (tmp_path / name).write_text('1')
    before = digest_of_teachers([teacher])
    assert before == digest_of_teachers([teacher]) is not None
    (tmp_path / 'model.safetensors').write_text('2')
    assert digest_of_teachers([teacher]) != before


def test_weights_are_known_wherever_they_lie(tmp_path):
    one, other, onnx = (tmp_path / name for name in ('one.pth', 'other.pth', 'teacher.onnx'))
    for path in (one, other, onnx):
        path.write_text('1')
    digests = {
        digest_of_teachers([each])
        for each in (
            dict(config=dict(), checkpoint=str(one)),
            dict(config=[dict(config=dict(), checkpoint=str(other))]),
            dict(config=f'onnx:{onnx}'),
            dict(config=str(onnx)),
        )
    }
    assert len(digests) == 1
    assert None not in digests


@pytest.mark.parametrize('scheme', ['', 'onnx:'])
def test_an_onnx_file_is_known_by_the_weights_beside_it(scheme, tmp_path):
    onnx = pytest.importorskip('onnx')
    weight = onnx.numpy_helper.from_array(np.ones((4, 4), np.float32), 'weight')
    graph = onnx.helper.make_graph([], 'network', [], [], [weight])
    path, beside = tmp_path / 'teacher.onnx', tmp_path / 'teacher.onnx.data'
    teacher = dict(config=f'{scheme}{path}')
    model = onnx.helper.make_model(graph)
    onnx.save(model, path, save_as_external_data=True, location=beside.name, size_threshold=0)
    file, config, first = digest_of_teachers([teacher]).split('-')
    assert file == hashlib.sha256(path.read_bytes()).hexdigest()[:16], 'as older results have it'
    assert config == ''
    with beside.open('ab') as content:
        content.write(b'x')
    assert digest_of_teachers([teacher]).startswith(f'{file}--')
    assert digest_of_teachers([teacher]) != f'{file}--{first}'
    beside.unlink()
    assert digest_of_teachers([teacher]) == file


def test_a_checkpoint_takes_the_place_of_what_the_config_names(tmp_path):
    one, other = tmp_path / 'one.pth', tmp_path / 'other.pth'
    one.write_text('1')
    other.write_text('2')
    model = dict(type='ImageClassifier', pretrained=str(other))
    alone = hashlib.sha256(b'1').hexdigest()[:16]
    assert digest_of_teachers([dict(config=model, checkpoint=str(one))]) == alone
    assert (
        digest_of_start(dict(model=dict(teacher=dict(config=model, checkpoint=str(one))))) == alone
    )
    assert digest_of_teachers([dict(config=model)]).startswith('--')


def test_a_home_folder_is_found(tmp_path, monkeypatch):
    monkeypatch.setenv('HOME', str(tmp_path))
    (tmp_path / 'a.pth').write_text('1')
    alone = hashlib.sha256(b'1').hexdigest()[:16]
    assert digest_of_teachers([dict(config=dict(), checkpoint='~/a.pth')]) == alone
    assert digest_of_teachers([dict(config=dict(), checkpoint='~nobody-at-all/a.pth')]) is None


def test_where_nothing_is_named_there_is_no_fingerprint():
    assert digest_of_start({}) is None
    assert digest_of_start(dict(model=dict(teacher=None, init_cfg=dict(type='Normal')))) is None


def test_a_module_of_ones_own_is_known_by_what_it_does(tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(tmp_path)
    (tmp_path / 'losses_of_mine.py').write_text('WEIGHT = 1\n')
    cfg = dict(custom_imports=dict(imports=['mmbss', 'losses_of_mine']))
    before = digest_of_start(cfg)
    assert before.startswith('----')
    (tmp_path / 'losses_of_mine.py').write_text('WEIGHT = 2\n')
    assert differences_of(before, digest_of_start(cfg))
    assert not differences_of(digest_of_start({}), before), 'older results do not say it'
