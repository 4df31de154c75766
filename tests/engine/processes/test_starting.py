import pytest

from mmbss.engine.processes.starting import meeting_place

START = 'import sys; from mmbss.engine.processes.starting import start_processes as start; '
PROGRAM = """
import os, sys, time
from mmbss.engine.errors import ConfigError, readable_errors
with readable_errors():
    if sys.argv[1] == 'wrong':
        raise ConfigError('lr=-1 must be above 0')
    if os.environ['RANK'] == '1':
        os.kill(os.getpid(), 9)
    time.sleep(3600)  # as a process that waits for the other
"""


@pytest.mark.parametrize(
    ('end', 'line', 'code'),
    [
        ('wrong', 'error: lr=-1 must be above 0', 1),
        ('killed', 'was ended by SIGKILL', 137),
    ],
)
def test_a_job_that_fails_says_so_in_one_line(python, tmp_path, end, line, code):
    program = tmp_path / 'program.py'
    program.write_text(PROGRAM)
    completed = python('-c', f'{START}start(2, {str(program)!r}, [{end!r}])', check=False)
    assert completed.returncode == code
    lines = (completed.stdout + completed.stderr).splitlines()
    assert len(lines) == 1
    assert line in lines[0]


def test_a_free_port_is_found_unless_the_environment_names_one(monkeypatch):
    for name in ('NNODES', 'NODE_RANK', 'MASTER_ADDR', 'PORT'):
        monkeypatch.delenv(name, raising=False)
    assert meeting_place()[0] == '--standalone'
    monkeypatch.setenv('PORT', '12345')
    assert '--master_port=12345' in meeting_place()
    assert '--nnodes=1' in meeting_place()
    monkeypatch.delenv('PORT')
    monkeypatch.setenv('NNODES', '2')
    monkeypatch.setenv('NODE_RANK', '1')
    monkeypatch.setenv('MASTER_ADDR', 'first')
    assert meeting_place() == [
        *('--nnodes=2', '--node_rank=1', '--master_addr=first', '--master_port=29500')
    ]
