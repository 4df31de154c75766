import signal
import time
from contextlib import suppress

import pytest

from mmbss.engine.cli import interrupts
from mmbss.engine.cli.interrupts import one_line_at_the_end


@pytest.fixture
def handlers():
    """Those of the tests are back afterwards."""
    numbers = (signal.SIGINT, signal.SIGTERM, signal.SIGALRM, signal.SIGCHLD)
    before = {number: signal.getsignal(number) for number in numbers}
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


def obedient(number):
    signal.raise_signal(number)


def told_twice(number):
    signal.raise_signal(number)
    signal.raise_signal(signal.SIGTERM)


def deaf(number):
    """As what formats a config, it swallows whatever is raised, once."""
    with suppress(BaseException):
        signal.raise_signal(number)
    for _ in range(100):
        time.sleep(0.05)


def translating(number):
    try:
        signal.raise_signal(number)
    except:  # noqa: E722
        raise SyntaxError('something else') from None


@pytest.mark.parametrize('program', [obedient, told_twice, deaf, translating])
@pytest.mark.parametrize(
    ('number', 'code', 'word'),
    [(signal.SIGINT, 130, 'interrupted'), (signal.SIGTERM, 143, 'terminated')],
)
def test_a_signal_ends_with_one_line_and_its_code(
    program, number, code, word, handlers, capsys, monkeypatch
):
    monkeypatch.setattr(interrupts, 'PATIENCE', 0.2)
    with pytest.raises(SystemExit) as error, one_line_at_the_end(lambda: 'go on with X'):
        program(number)
    assert error.value.code == code
    assert capsys.readouterr().err == f'{word}: go on with X\n'
    assert signal.getitimer(signal.ITIMER_REAL) == (0.0, 0.0)


def test_without_a_signal_nothing_is_changed(handlers):
    before = signal.getsignal(signal.SIGTERM)
    with one_line_at_the_end(lambda: ''):
        assert signal.getsignal(signal.SIGTERM) is not before
    assert signal.getsignal(signal.SIGTERM) is before
    with pytest.raises(ValueError, match='a bug'), one_line_at_the_end(lambda: ''):
        raise ValueError('a bug')
    assert signal.getsignal(signal.SIGTERM) is before
