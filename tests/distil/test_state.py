import pytest

from mmbss.distil.state import check_same, read_state, write_state
from mmbss.engine.errors import ConfigError


def test_kept_and_compared(tmp_path):
    folder = tmp_path / 'work'
    assert read_state(folder) == {}
    write_state(folder, dict(arguments=dict(student='resnet8', methods=('kd',))))
    state = read_state(folder)
    check_same(folder, state, 'arguments', dict(student='resnet8', methods=('kd',)))
    with pytest.raises(ConfigError, match="'resnet20'"):
        check_same(folder, state, 'arguments', dict(student='resnet20', methods=('kd',)))


def test_a_folder_of_something_else(tmp_path):
    (tmp_path / 'notes.txt').touch()
    with pytest.raises(ConfigError, match='not empty'):
        read_state(tmp_path)
    with pytest.raises(ConfigError, match='not empty'):
        read_state(tmp_path, rerun=True)


@pytest.mark.parametrize('text', ['[]', '{', '{"arguments": 3}'])
def test_damaged(tmp_path, text):
    (tmp_path / 'distil.json').write_text(text)
    with pytest.raises(ConfigError, match='damaged'):
        read_state(tmp_path)
    assert read_state(tmp_path, rerun=True) == {}
