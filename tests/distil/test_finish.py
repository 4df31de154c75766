import json
from types import SimpleNamespace

import numpy as np
import pytest

from mmbss.distil import finish
from mmbss.distil.choose import Answers, Choice
from mmbss.distil.configs import Paths
from mmbss.distil.finish import choose_student
from mmbss.distil.running import Outcome
from mmbss.engine.errors import ConfigError
from mmbss.engine.fingerprint import file_digest


def test_without_the_labels_alone_there_is_nothing_to_compare_with():
    outcome = Outcome(finished=['kd-t4-w0.9'], failed={'labels': 'loss is NaN'})
    with pytest.raises(ConfigError, match='labels: loss is NaN'):
        choose_student([], outcome, {})


def test_a_student_that_is_not_whole_is_put_aside(tmp_path, monkeypatch):
    paths = Paths(tmp_path)
    paths.student.mkdir()
    (paths.student / 'student.onnx').write_text('half')

    def export_student(config, checkpoint, out, **settings):
        out.mkdir()
        files = {f'student.{kind}': 1 for kind in settings['formats']}
        figures = dict(checkpoint_digest=file_digest(checkpoint), files=files, problems={})
        (out / 'export.json').write_text(json.dumps(figures))
        return figures

    network = dict(config='a.py', checkpoint=str(tmp_path / 'a.pth'))
    (tmp_path / 'a.pth').write_text('a')
    monkeypatch.setattr(finish, 'networks_of', lambda runs, names: {names[0]: network})
    monkeypatch.setattr(finish, 'export_student', export_student)
    for has_onnx in (True, False):  # the second time it lies there, whatever is installed
        monkeypatch.setattr(finish, 'find_spec', lambda name, found=has_onnx: found or None)
        found = finish.export(paths, SimpleNamespace(name='kd'), [], 'call', {})
        assert 'student.onnx' in found['files']
        assert found['problems'] == {}
    assert (tmp_path / 'replaced_0_student' / 'student.onnx').is_file()
    assert not (tmp_path / 'replaced_1_student').exists()
    (tmp_path / 'a.pth').write_text('trained anew')
    for has_onnx in (False, True):
        monkeypatch.setattr(finish, 'find_spec', lambda name, found=has_onnx: found or None)
        found = finish.export(paths, SimpleNamespace(name='kd'), [], 'call', {})
        assert 'pip install' in found['problems']['onnx']


def test_tests_are_looked_at_once_a_choice_and_what_was_compared_is_kept(tmp_path, monkeypatch):
    monkeypatch.setattr(finish, 'ask_about_tests', lambda *args: dict(images=3))
    right = Answers(np.zeros(3, int), np.zeros(3, int))
    weights = tmp_path / 'a.pth'
    weights.write_text('a')
    network = dict(checkpoint=str(weights))
    monkeypatch.setattr(finish, 'networks_of', lambda runs, names: dict.fromkeys(names, network))

    def look(*names):
        choice = Choice(names[0], [*names], dict.fromkeys(names, right), right)
        found = finish.look_at_tests(Paths(tmp_path), choice, [], {})
        stored = json.loads((tmp_path / 'choice.json').read_text())
        assert [*stored['validation']] == stored['level'] == [*names]
        return found['looks']

    assert [look('kd'), look('kd', 'labels'), look('labels', 'kd'), look('labels')] == [1, 1, 2, 2]
    weights.write_text('trained anew')
    assert look('labels') == 3
