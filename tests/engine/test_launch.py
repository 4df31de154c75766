import pytest

PROGRAM = """
import os, sys
from mmbss.engine.errors import ConfigError, readable_errors
with readable_errors():
    if sys.argv[1] == 'wrong':
        raise ConfigError('lr=-1 must be above 0')
    os.kill(os.getpid(), 9)
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
    arguments = ('--standalone', '--local_addr=127.0.0.1', '--nproc_per_node=2', program, end)
    completed = python('-m', 'mmbss.engine.launch', *arguments, check=False)
    assert completed.returncode == code
    lines = (completed.stdout + completed.stderr).splitlines()
    assert len(lines) == 1
    assert line in lines[0]
