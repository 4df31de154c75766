import os
from multiprocessing import get_context

import pytest

from mmbss.engine.errors import ConfigError, FileError
from mmbss.engine.files.atomic import PART, remove_parts, whole_file, whole_folder


def names(folder):
    return sorted(path.name for path in folder.iterdir())


def test_a_file_appears_with_its_folder_when_it_is_whole(tmp_path):
    path = tmp_path / 'new' / 'file.npz'
    with whole_file(path) as part:
        part.write_bytes(b'content')
        assert part.name.endswith(PART)
        assert not path.exists()
    assert path.read_bytes() == b'content'
    assert names(path.parent) == ['file.npz']


def test_an_error_leaves_the_earlier_file_and_no_part(tmp_path):
    path = tmp_path / 'file'
    path.write_bytes(b'earlier')
    with pytest.raises(TypeError), whole_file(path) as part:
        part.write_bytes([b'half', part.write_bytes(b'half')])
    assert path.read_bytes() == b'earlier'
    assert names(tmp_path) == ['file']


def test_an_error_before_anything_is_written_is_itself(tmp_path):
    with pytest.raises(RuntimeError), whole_file(tmp_path / 'file'):
        raise RuntimeError
    assert names(tmp_path) == []


def test_what_was_written_is_on_the_disk_before_it_gets_its_name(tmp_path, monkeypatch):
    path, seen = tmp_path / 'file', []
    monkeypatch.setattr(os, 'fsync', lambda _: seen.append(path.exists()))
    with whole_file(path) as part:
        part.write_bytes(b'content')
    assert seen == [False]
    assert path.exists()


def write(path, begun, content):
    with whole_file(path) as part:
        part.write_bytes(content)
        begun.wait()


def test_processes_that_write_the_same_file_do_not_meet(tmp_path):
    context = get_context('fork')
    begun = context.Barrier(2)  # both are half way at the same time
    writers = [
        context.Process(target=write, args=(tmp_path / 'file', begun, letter * 1000))
        for letter in (b'a', b'b')
    ]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join(60)
    assert [writer.exitcode for writer in writers] == [0, 0]
    assert (tmp_path / 'file').read_bytes() in (b'a' * 1000, b'b' * 1000)
    assert names(tmp_path) == ['file']


def test_parts_of_killed_processes_are_removed_and_nothing_else(tmp_path):
    for name in ('.epoch_3.pth.4711.part', 'epoch_2.pth', 'notes.part'):
        (tmp_path / name).touch()
    remove_parts(tmp_path)
    assert names(tmp_path) == ['epoch_2.pth', 'notes.part']


def test_the_files_of_a_folder_appear_together(tmp_path):
    folder = tmp_path / 'new' / 'folder'
    with whole_folder(folder) as part:
        (part / 'one').write_text('1')
        assert names(folder) == [part.name]
        (part / 'two').write_text('2')
    assert names(folder) == ['one', 'two']
    with pytest.raises(ConfigError, match='not empty'), whole_folder(folder):
        pass
    with pytest.raises(ConfigError, match='not empty'), whole_folder(folder / 'one'):
        pass
    with pytest.raises(FileError, match='Not a directory'), whole_folder(folder / 'one' / 'deeper'):
        pass


def fail_half_way(folder, error):
    with whole_folder(folder) as part:
        (part / 'one').write_text('1')
        raise error


@pytest.mark.parametrize('known', [False, True])
@pytest.mark.parametrize('error', [KeyboardInterrupt, RuntimeError])
def test_a_folder_that_is_not_finished_is_as_before(known, error, tmp_path):
    folder = tmp_path / 'folder'
    if known:
        folder.mkdir()
    with pytest.raises(error):
        fail_half_way(folder, error)
    assert names(tmp_path) == (['folder'] if known else [])
    assert not known or names(folder) == []


def test_what_a_killed_process_has_left_in_a_folder_gives_way(tmp_path):
    with whole_folder(tmp_path / 'a') as part:
        name = part.name
    left = tmp_path / 'b' / name.replace(str(os.getpid()), '99999999')
    left.mkdir(parents=True)
    (left / 'half').touch()
    with whole_folder(tmp_path / 'b') as part:
        (part / 'one').touch()
    assert names(tmp_path / 'b') == ['one']
    (tmp_path / 'c' / name).mkdir(parents=True)  # of a process that runs: this one
    with pytest.raises(ConfigError, match='not empty'), whole_folder(tmp_path / 'c'):
        pass
