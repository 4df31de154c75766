import argparse
import sys

import pytest
import torch
from mmengine.config import Config
from mmengine.registry import VISBACKENDS

from mmbss.cli import (
    add_common_arguments,
    merge_common_arguments,
    merge_options,
    readable_errors,
)
from mmbss.losses import KDLoss
from mmbss.registry import MODELS


@pytest.fixture
def parse():
    def parse(*flags):
        parser = argparse.ArgumentParser()
        parser.add_argument('config')
        add_common_arguments(parser)
        return parser.parse_args(['configs/some_name.py', *flags])

    return parse


@pytest.fixture
def config():
    loader = dict(batch_size=2, num_workers=0)
    return Config(dict(train_dataloader=loader, val_dataloader=dict(loader, num_workers=3)))


def merged(config, args):
    merge_common_arguments(config, args)
    merge_options(config, args)
    return config


def test_work_dir_is_that_of_the_flag_of_the_config_or_its_name(parse, config):
    assert merged(config.copy(), parse()).work_dir == 'work_dirs/some_name'
    config.work_dir = 'mine'
    assert merged(config.copy(), parse()).work_dir == 'mine'
    assert merged(config.copy(), parse('--work-dir', 'other')).work_dir == 'other'


def test_data_loaders_get_the_defaults_of_mmpretrain(parse, config):
    merged(config, parse())
    for name in ('train_dataloader', 'val_dataloader'):
        assert config[name].collate_fn == dict(type='default_collate')
        assert config[name].pin_memory is torch.cuda.is_available()
    assert 'test_dataloader' not in config


def test_workers_persist_only_where_there_are_some(parse, config):
    merged(config, parse())
    assert config.train_dataloader.persistent_workers is False
    assert config.val_dataloader.persistent_workers is True


def test_options_have_the_last_word(parse, config):
    args = parse('--cfg-options', 'train_dataloader.num_workers=2', 'val_dataloader.num_workers=0')
    merged(config, args)
    assert config.train_dataloader.persistent_workers is True
    assert config.val_dataloader.persistent_workers is False


def test_what_the_config_says_of_its_loaders_stays(parse, config):
    config.val_dataloader.update(pin_memory=True, collate_fn=dict(type='pseudo_collate'))
    merged(config, parse())
    assert config.val_dataloader.pin_memory is True
    assert config.val_dataloader.collate_fn.type == 'pseudo_collate'
    merged(config, parse('--no-pin-memory'))
    assert config.val_dataloader.pin_memory is False


@pytest.mark.parametrize('flag', ['--local_rank', '--local-rank'])
def test_old_and_new_launchers_may_pass_the_rank(parse, flag):
    assert parse(f'{flag}=3').local_rank == 3


def test_an_unknown_launcher_is_refused(parse, capsys):
    with pytest.raises(SystemExit):
        parse('--launcher', 'pigeon')
    assert 'pigeon' in capsys.readouterr().err


# ---------------------------------------------------------------- readable errors


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
