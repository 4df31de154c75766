import pytest
from written_runs import write_run


@pytest.fixture
def make_run():
    return write_run
