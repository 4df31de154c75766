"""Which of several processes this is: as ``--launcher`` says, whatever the environment holds."""

import os

from mmbss.engine.errors import ConfigError

#: What each launcher sets: rank, number of processes, and the rest; and how it is started.
VARIABLES = dict(
    pytorch=(
        ('RANK', 'WORLD_SIZE', 'LOCAL_RANK', 'MASTER_ADDR', 'MASTER_PORT'),
        'start the tool with tools/launch.py or torchrun',
    ),
    slurm=(
        ('SLURM_PROCID', 'SLURM_NTASKS', 'SLURM_NODELIST'),
        'start the tool with tools/slurm_train.sh or srun',
    ),
    mpi=(
        (
            *('OMPI_COMM_WORLD_RANK', 'OMPI_COMM_WORLD_SIZE', 'OMPI_COMM_WORLD_LOCAL_RANK'),
            'MASTER_ADDR',
        ),
        "start the tool with Open MPI's mpirun",
    ),
)


def check_launcher(launcher: str) -> None:
    """Refuse a launcher that has not started this process.

    Raises:
        ConfigError: If a variable that it sets is missing.
    """
    if launcher not in VARIABLES:
        return
    names, remedy = VARIABLES[launcher]
    missing = [name for name in names if name not in os.environ]
    if missing:
        raise ConfigError(
            f'--launcher {launcher}: {", ".join(missing)} is not set: {remedy}, or leave out '
            f'--launcher {launcher}'
        )


def is_first_process(launcher: str) -> bool:
    """Whether this is the first of the processes, before they connect; one alone always is."""
    return launcher not in VARIABLES or int(os.environ[VARIABLES[launcher][0][0]]) == 0
