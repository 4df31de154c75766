import ctypes
import shutil
import subprocess

import pytest
import torch

from mmbss.acceleration import build

# torch's headers take ten seconds; the tests of the Winograd operator compile with them
SOURCE = 'extern "C" int doubled(int x) { return 2 * x; }'


@pytest.fixture
def source(tmp_path, monkeypatch):
    monkeypatch.setenv('TORCH_EXTENSIONS_DIR', str(tmp_path / 'cache'))
    path = tmp_path / 'doubling.cpp'
    path.write_text(SOURCE)
    return path


@pytest.mark.skipif(shutil.which('c++') is None, reason='there is no C++ compiler')
def test_an_operator_is_compiled_once(source, tmp_path, monkeypatch):
    build.load_operator(source)
    (library,) = (tmp_path / 'cache').iterdir()
    assert library.suffix == '.so'
    assert str(library) in torch.ops.loaded_libraries
    assert ctypes.CDLL(str(library)).doubled(2) == 4
    monkeypatch.setattr(
        subprocess, 'run', lambda *command, **options: pytest.fail('compiled again')
    )
    build.load_operator(source)


@pytest.mark.skipif(shutil.which('c++') is None, reason='there is no C++ compiler')
def test_what_the_compiler_says_is_passed_on_and_nothing_is_left(source, tmp_path):
    source.write_text('this is no C++')
    with pytest.raises(ValueError, match=r"(?s)cannot compile doubling\.cpp.*'?this'?"):
        build.load_operator(source)
    assert list((tmp_path / 'cache').iterdir()) == []


def test_without_a_compiler_it_is_said_what_to_do(source, monkeypatch):
    monkeypatch.setenv('CXX', 'no-such-compiler')
    with pytest.raises(ValueError, match=r'install g\+\+ or clang, .* or leave winograd out'):
        build.load_operator(source)


def test_other_sources_headers_and_compilers_get_other_files(source):
    first = build._fingerprint(source, 'c++')
    assert build._fingerprint(source, 'clang++') != first
    source.with_name('included.h').write_text('')
    assert build._fingerprint(source, 'c++') == first
    source.with_name('included.h').write_text('other')
    assert build._fingerprint(source, 'c++') != first
    source.write_text('other')
    assert build._fingerprint(source, 'c++') != first
