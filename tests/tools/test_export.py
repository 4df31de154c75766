import json

import pytest
import torch
from mmengine.config import Config
from safetensors.torch import load_file

from mmbss.export.formats import FORMATS


def test_checkpoints_of_a_run_are_plain(ema_run):
    """Those mid-run, the last and the best, with averaged weights: torch reads them by itself."""
    checkpoints = sorted(ema_run.folder.glob('*.pth'))
    assert any(path.name.startswith('best') for path in checkpoints)
    assert len(checkpoints) == 4
    for path in checkpoints:
        assert torch.serialization.get_unsafe_globals_in_checkpoint(path) == []
        assert 'message_hub' in torch.load(path, weights_only=True)


def test_a_distillers_checkpoint_becomes_a_student_with_averaged_weights(
    call_tool, configs, ema_run, tmp_path, capsys
):
    config, out = configs.folder / 'ema.py', tmp_path / 'out'
    flags = ['--formats', 'safetensors', 'pth', '--check-images', 5]
    call_tool('export', config, ema_run.folder / 'epoch_3.pth', '--out', out, *flags)
    averaged = ema_run.checkpoint('epoch_3.pth')['state_dict']
    for state in (
        torch.load(out / 'student.pth')['state_dict'],
        load_file(out / 'student.safetensors'),
    ):
        assert state.keys() == averaged.keys()
        assert all(torch.equal(state[name], value) for name, value in averaged.items())
    plain = Config.fromfile(out / 'student.py')
    assert plain.model.type == 'ImageClassifier'
    assert 'teacher' not in plain.model
    assert 'student.pth' in capsys.readouterr().out
    card = (out / 'README.md').read_text()
    assert '- loss_kd: KDLoss (temperature=3.0)' in card
    assert 'tools/export.py' in card
    assert f'| {ema_run.accuracy[3]:.6g} |' in card


def test_the_tool_names_every_format(load_tool):
    assert tuple(FORMATS) == load_tool('export').FORMATS


def test_mistakes_end_in_one_line(call_tool, configs, bss_run, tmp_path):
    checkpoint = bss_run.folder / 'epoch_4.pth'
    with pytest.raises(SystemExit, match=r'^error: .*not empty'):
        call_tool('export', configs.bss, checkpoint, '--out', bss_run.folder)
    with pytest.raises(SystemExit, match=r'^error: .*choose among'):
        call_tool(
            'export', configs.bss, checkpoint, '--out', tmp_path / 'out', '--formats', 'tflite'
        )
    names = tmp_path / 'names.txt'
    names.write_text('\ufeffone\ntwo\n\n', encoding='utf-8')
    with pytest.raises(SystemExit, match=r'^error: 2 names of classes, one, two'):
        call_tool(
            *('export', configs.bss, checkpoint, '--out', tmp_path / 'out'),
            *('--formats', 'pth', '--classes', names),
        )
    names.write_bytes(b'\xff')
    with pytest.raises(SystemExit, match=r'^error: .*UTF-8'):
        call_tool(
            *('export', configs.bss, checkpoint, '--out', tmp_path / 'out', '--classes', names)
        )


def test_a_graph_that_could_not_be_written_is_said_and_counts(
    call_tool, configs, bss_run, tmp_path, monkeypatch, capsys
):
    def fail(*args, **kwargs):
        raise RuntimeError('no such operator')

    monkeypatch.setattr(torch.export, 'export', fail)
    out = tmp_path / 'out'
    with pytest.raises(SystemExit) as end:
        call_tool(
            *('export', configs.bss, bss_run.folder / 'epoch_4.pth', '--out', out),
            *('--formats', 'pth', 'pt2', '--check-images', 3),
        )
    assert end.value.code == 1
    assert 'no pt2: torch.export: RuntimeError: no such operator' in capsys.readouterr().err
    assert json.loads((out / 'export.json').read_text())['problems']['pt2']


def test_a_name_that_is_too_long_for_a_file_is_one_of_a_class(load_tool):
    names = ['a' * 300]
    assert load_tool('export').named_classes(names) == names
