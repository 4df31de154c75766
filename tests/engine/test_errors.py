import sys

import pytest
import torch
from mmengine.config import Config
from mmengine.registry import VISBACKENDS

from mmbss.engine.errors import readable_errors
from mmbss.losses import KDLoss
from mmbss.registry import MODELS


def refuse(call):
    with pytest.raises(SystemExit) as error, readable_errors():
        call()
    return str(error.value)


def test_errors_of_mmbss_become_one_line():
    assert refuse(lambda: KDLoss(temperature=-1)) == (
        'error: KDLoss: temperature must be positive, got -1'
    )


def test_errors_of_the_registry_become_one_line_without_quotes():
    message = refuse(lambda: MODELS.build(dict(type='mmbss.NoSuchModel')))
    assert message.startswith('error: mmbss.NoSuchModel is not in the')


def test_misspelt_arguments_become_one_line():
    message = refuse(lambda: MODELS.build(dict(type='mmbss.KDLoss', temprature=1)))
    assert message.startswith('error: ')
    assert "unexpected keyword argument 'temprature'" in message


def test_a_visualizer_back_end_that_is_not_installed_becomes_one_line(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, 'wandb', None)
    back_end = VISBACKENDS.build(dict(type='WandbVisBackend', save_dir=str(tmp_path)))
    message = refuse(lambda: back_end.experiment)
    assert message == 'error: Please run "pip install wandb" to install wandb'


def test_a_file_that_is_not_there_becomes_one_line():
    assert refuse(lambda: Config.fromfile('nowhere')).endswith('nowhere" does not exist')


def test_errors_from_elsewhere_keep_their_traceback():
    with pytest.raises(ValueError, match='invalid literal'), readable_errors():
        int('x')


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


def test_an_error_of_mmbss_in_a_data_worker_becomes_the_same_line():
    message = refuse(lambda: load_in_worker(lambda: KDLoss(temperature=-1)))
    assert message == 'error: KDLoss: temperature must be positive, got -1'


def test_an_error_from_elsewhere_in_a_data_worker_keeps_its_traceback():
    with pytest.raises(ValueError, match='Original Traceback'), readable_errors():
        load_in_worker(lambda: int('x'))


def test_bugs_are_never_hidden():
    with pytest.raises(AttributeError), readable_errors():
        KDLoss().no_such_method()
    with pytest.raises(AttributeError), readable_errors():
        load_in_worker(lambda: KDLoss().no_such_method())


def test_no_error_is_no_exit():
    with readable_errors():
        pass
