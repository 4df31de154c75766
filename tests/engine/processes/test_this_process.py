import pytest

from mmbss.engine.processes.this_process import VARIABLES, check_launcher, is_first_process

ENVIRONMENT = dict(
    RANK='1',
    WORLD_SIZE='2',
    LOCAL_RANK='1',
    MASTER_ADDR='localhost',
    MASTER_PORT='29500',
    SLURM_PROCID='1',
    SLURM_NTASKS='2',
    SLURM_NODELIST='node[1-2]',
    OMPI_COMM_WORLD_RANK='1',
    OMPI_COMM_WORLD_SIZE='2',
    OMPI_COMM_WORLD_LOCAL_RANK='1',
)


@pytest.fixture
def environment(monkeypatch):
    for name, value in ENVIRONMENT.items():
        monkeypatch.setenv(name, value)
    return monkeypatch


@pytest.mark.parametrize('launcher', VARIABLES)
def test_what_a_launcher_sets_is_taken(launcher, environment):
    check_launcher(launcher)
    assert not is_first_process(launcher)
    environment.setenv(VARIABLES[launcher][0][0], '0')
    assert is_first_process(launcher)


@pytest.mark.parametrize(
    ('launcher', 'name'), [(key, name) for key, value in VARIABLES.items() for name in value[0]]
)
def test_what_is_missing_is_named(launcher, name, environment):
    environment.delenv(name)
    with pytest.raises(ValueError, match=f'--launcher {launcher}: {name} is not set'):
        check_launcher(launcher)


def test_without_a_launcher_nothing_is_looked_at(environment):
    environment.setenv('RANK', 'abc')
    check_launcher('none')
    assert is_first_process('none')
