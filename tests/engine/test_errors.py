from pathlib import Path

import pytest
import torch

from mmbss.engine.build import build_checked, check_keys, check_known
from mmbss.engine.errors import (
    ConfigError,
    FileError,
    MissingFileError,
    is_of_input,
    lines_of,
    naming,
    one_line,
    problems_of,
    readable_errors,
)
from mmbss.losses import KDLoss
from mmbss.registry import MODELS


def refuse(call):
    with pytest.raises(SystemExit) as error, readable_errors():
        call()
    return str(error.value)


def raise_(error):
    raise error


# ---------------------------------------------------------------- what ends in a line


def test_a_mistake_of_the_user_becomes_one_line():
    assert refuse(lambda: KDLoss(temperature=-1)) == (
        'error: KDLoss: temperature must be positive, got -1'
    )


def test_each_mistake_gets_a_line():
    wrong = dict(temprature=3, loss_weight='much')
    lines = refuse(lambda: check_keys(wrong, KDLoss, 'KDLoss')).splitlines()
    assert len(lines) == 2
    assert all(line.startswith('error: KDLoss') for line in lines)
    assert 'temperature' in lines[0]
    assert 'loss_weight' in lines[1]


def test_a_message_of_several_lines_becomes_one():
    assert refuse(lambda: raise_(ConfigError('a\n  b'))) == 'error: a b'


def test_unknown_types_and_misspelt_arguments_are_named_with_the_closest():
    build = lambda **config: build_checked(MODELS, config, 'losses.loss_kd')  # noqa: E731
    message = refuse(lambda: build(type='mmbss.KDLos'))
    assert message.startswith("error: losses.loss_kd.type='mmbss.KDLos' is not in the")
    assert "did you mean 'mmbss.KDLoss'" in message
    assert "did you mean 'temperature'" in refuse(lambda: build(type='mmbss.KDLoss', temprature=1))


def test_each_unknown_key_is_a_sentence():
    given = dict(temprature=1, rate=2, teacher=3)
    message = refuse(lambda: check_known(given, ['loss_weight', 'temperature'], 'KDLoss'))
    assert message.startswith(
        "error: KDLoss has no key 'temprature', did you mean 'temperature'? No key 'rate'. No key "
        "'teacher'. It takes: loss_weight, temperature; got temprature=1, rate=2, teacher=3"
    )


@pytest.mark.parametrize('kind', [FileError, MissingFileError])
def test_a_file_error_is_both_a_mistake_of_the_user_and_an_os_error(kind):
    assert refuse(lambda: raise_(kind("no file 'a.pth'"))) == "error: no file 'a.pth'"
    with pytest.raises(OSError, match=r'a\.pth'):
        raise_(kind("no file 'a.pth'"))
    assert issubclass(MissingFileError, FileNotFoundError)


def test_the_exit_code_is_1(python):
    code = (
        'from mmbss.engine.errors import ConfigError, readable_errors\n'
        'with readable_errors(): raise ConfigError("first", "second")'
    )
    completed = python('-c', code, check=False)
    assert completed.returncode == 1
    assert completed.stderr.splitlines()[-2:] == ['error: first', 'error: second']


@pytest.mark.parametrize(('rank', 'waits'), [('0', 0), ('1', 1), ('abc', 1)])
def test_other_processes_let_the_first_speak(rank, waits, monkeypatch):
    pauses = []
    monkeypatch.setenv('RANK', rank)
    monkeypatch.setattr('time.sleep', pauses.append)
    assert refuse(lambda: KDLoss(temperature=-1)).startswith('error: KDLoss')
    assert len(pauses) == waits


# ---------------------------------------------------------------- what keeps its traceback


@pytest.mark.parametrize(
    'kind', [AssertionError, AttributeError, KeyError, OSError, RuntimeError, TypeError, ValueError]
)
def test_whatever_else_is_raised_keeps_its_traceback(kind):
    with pytest.raises(kind), readable_errors():
        raise_(kind('interval'))


# ---------------------------------------------------------------- errors that data workers raise


class BrokenDataset(torch.utils.data.Dataset):
    """Calls a function for each sample."""

    def __init__(self, function):
        self.function = function

    def __len__(self):
        return 1

    def __getitem__(self, index):
        return self.function()


def load_in_worker(function):
    next(iter(torch.utils.data.DataLoader(BrokenDataset(function), num_workers=1)))


def test_a_mistake_that_a_data_worker_finds_becomes_the_same_line():
    message = refuse(lambda: load_in_worker(lambda: KDLoss(temperature=-1)))
    assert message == 'error: KDLoss: temperature must be positive, got -1'
    message = refuse(lambda: load_in_worker(lambda: raise_(MissingFileError("no file 'a'"))))
    assert message == "error: no file 'a'"


@pytest.mark.parametrize('bug', [lambda: int('x'), lambda: KDLoss().no_such_method()])
def test_a_bug_in_a_data_worker_keeps_its_traceback(bug):
    kinds = AttributeError, ValueError
    with pytest.raises(kinds, match='Original Traceback'), readable_errors():
        load_in_worker(bug)


# ---------------------------------------------------------------- errors while something is built


def caught(call):
    try:
        call()
    except Exception as error:
        return error
    raise AssertionError('nothing was raised')


def raised_in(module, code):
    """The error of a function that lies in a module of this name."""
    space = dict(__name__=module, torch=torch)
    exec(f'def fail(): {code}', space)
    return caught(space['fail'])


@pytest.mark.parametrize(
    ('module', 'code', 'expected'),
    [
        ('mmengine.runner.loops', 'raise KeyError("max_epochs")', True),
        ('mmpretrain.models', 'import json; json.loads("{")', True),
        ('mmbss.hooks.bss_hook', 'torch.optim.SGD([], lr=0.1)', True),
        ('mmbss.hooks.bss_hook', '{}["interval"]', False),
        ('mmbss.hooks.bss_hook', 'import json; json.loads("{")', False),
        ('mmbss.hooks.bss_hook', 'int("x")', False),
        ('my_models.net', 'None + 1', False),
        ('__main__', 'None + 1', False),
    ],
)
def test_an_error_speaks_of_the_input_if_a_library_raises_it(module, code, expected):
    assert is_of_input(raised_in(module, code)) == expected


def test_what_a_library_raises_is_named_by_its_part():
    message = '^optimizer: ValueError: Invalid learning rate: -1$'
    with pytest.raises(ConfigError, match=message), naming('optimizer'):
        torch.optim.SGD([torch.zeros(1)], lr=-1)


def test_a_bug_is_not_taken_for_a_wrong_part():
    with pytest.raises(KeyError), naming('hook'):
        raise raised_in('mmbss.hooks.bss_hook', '{}["interval"]')


def test_problems_are_collected_instead_of_raised():
    assert problems_of(KDLoss, 2.0) == []
    assert problems_of(KDLoss, -1.0) == ['KDLoss: temperature must be positive, got -1.0']
    with pytest.raises(TypeError):
        problems_of(KDLoss, None, None, None, None, None)


@pytest.mark.parametrize(
    ('error', 'text'),
    [(KeyError('a'), 'a'), (ValueError(), 'ValueError'), (ValueError('a\n b'), 'a b')],
)
def test_an_error_in_one_line(error, text):
    assert one_line(error) == text


def test_an_error_that_says_nothing_is_known_by_its_line():
    with pytest.raises(StopIteration) as caught:
        next(iter([]))
    assert lines_of(caught.value) == ['StopIteration: next(iter([]))']
    assert lines_of(AssertionError()) == ['AssertionError: AssertionError']


def test_a_name_that_no_file_can_have_is_said():
    with pytest.raises(SystemExit, match='no file has so long a name'), readable_errors():
        Path('a' * 300).stat()
