import pytest

from mmbss.engine.repairs.pointer_file import open_whole


def test_a_pointer_is_whole_or_as_it_was(tmp_path):
    path = tmp_path / 'last_checkpoint'
    with open_whole(str(path), 'w') as file:
        file.write('epoch_1.pth')
        file.flush()
        assert not path.exists()
    with pytest.raises(TypeError), open_whole(str(path), 'w') as file:
        file.write('epoch') + None
    assert path.read_text() == 'epoch_1.pth'
    assert [each.name for each in tmp_path.iterdir()] == ['last_checkpoint']
