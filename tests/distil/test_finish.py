import json
from types import SimpleNamespace

import pytest

from mmbss.distil import finish
from mmbss.distil.configs import Place
from mmbss.distil.finish import choose_student
from mmbss.distil.running import Outcome
from mmbss.engine.errors import ConfigError


def test_without_the_labels_alone_there_is_nothing_to_compare_with():
    outcome = Outcome(finished=['kd-t4-w0.9'], failed={'labels': 'loss is NaN'})
    with pytest.raises(ConfigError, match='labels: loss is NaN'):
        choose_student([], outcome, {})


def test_a_student_that_is_not_whole_is_put_aside(tmp_path, monkeypatch):
    place = Place(tmp_path)
    place.student.mkdir()
    (place.student / 'student.onnx').write_text('half')

    def export_student(config, checkpoint, out, **settings):
        out.mkdir()
        figures = dict(checkpoint=checkpoint, files=dict(all=1))
        (out / 'export.json').write_text(json.dumps(figures))
        return figures

    network = dict(config='a.py', checkpoint='a.pth')
    monkeypatch.setattr(finish, 'networks_of', lambda runs, names: {names[0]: network})
    monkeypatch.setattr(finish, 'export_student', export_student)
    for _ in range(2):  # the second time it lies there
        assert finish.export(place, SimpleNamespace(name='kd'), [], 'call', {}) == dict(all=1)
    assert (tmp_path / 'replaced_0_student' / 'student.onnx').is_file()
    assert not (tmp_path / 'replaced_1_student').exists()
