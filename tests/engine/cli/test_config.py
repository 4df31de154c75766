import argparse

import pytest
import torch
from mmengine.config import Config

from mmbss.engine.cli.config import (
    check_scaled_rate,
    load_config,
    merge_amp,
    merge_common_arguments,
    merge_options,
)
from mmbss.engine.cli.flags import add_common_arguments
from mmbss.engine.errors import ConfigError


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


@pytest.mark.parametrize('counts', [None, 1, 4])
@pytest.mark.parametrize('enable', [False, True])
def test_a_rate_is_not_scaled_where_an_update_takes_several_batches(counts, enable):
    wrapper = dict() if counts is None else dict(accumulative_counts=counts)
    config = Config(dict(auto_scale_lr=dict(enable=enable), optim_wrapper=wrapper))
    if not enable or counts != 4:
        check_scaled_rate(config)
        return
    with pytest.raises(ValueError, match=r'accumulative_counts=4'):
        check_scaled_rate(config)


def test_configs_of_packages_are_read_by_name_from_any_folder(tmp_path, monkeypatch, root):
    monkeypatch.chdir(tmp_path)
    config = load_config('mmbss::baseline/resnet8_1xb256-80e_cifar10.py')
    path = root / 'configs' / 'baseline' / 'resnet8_1xb256-80e_cifar10.py'
    assert config.to_dict() == load_config(str(path)).to_dict()
    (tmp_path / 'mine.py').write_text(f"_base_ = 'mmbss::baseline/{path.name}'")
    assert load_config('mine.py').model.backbone.type == config.model.backbone.type
    assert load_config('mmpretrain::resnet/resnet18_8xb16_cifar10.py').model.backbone.depth == 18


@pytest.mark.parametrize('name', ['mmbss::kd/no_such.py', 'nothing::kd/no_such.py', 'mmbss::x'])
def test_a_config_that_a_package_lacks_is_refused_by_its_name(name):
    with pytest.raises(ConfigError, match=name):
        load_config(name)


def test_a_package_that_is_only_on_the_path_is_to_be_installed(tmp_path, monkeypatch):
    (tmp_path / 'only_here').mkdir()
    (tmp_path / 'only_here' / '__init__.py').touch()
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(ConfigError, match='install'):
        load_config('only_here::kd/kd.py')


def test_amp_on_a_cpu_takes_no_scale_of_a_gpu(monkeypatch, caplog):
    monkeypatch.setattr(torch.cuda, 'is_available', lambda: False)
    wrapper = dict(type='AmpOptimWrapper', loss_scale='dynamic', optimizer=dict(type='SGD', lr=0.1))
    config = Config(dict(optim_wrapper=wrapper))
    merge_amp(config, argparse.Namespace(amp=True))
    assert config.optim_wrapper.type == 'mmbss.CPUAmpOptimWrapper'
    assert 'loss_scale' not in config.optim_wrapper
