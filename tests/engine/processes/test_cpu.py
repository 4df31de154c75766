import pytest
import torch
from mmengine.config import Config

from mmbss.engine.processes.cpu import prepare_cpu_distributed


@pytest.mark.parametrize('launcher', ['none', 'slurm', 'mpi'])
def test_other_launchers_get_no_process_group(launcher):
    config = Config(dict(launcher=launcher))
    prepare_cpu_distributed(config)
    assert not torch.distributed.is_initialized()
    assert 'model_wrapper_cfg' not in config


def test_with_a_gpu_mmengine_makes_the_process_group(monkeypatch):
    monkeypatch.setattr(torch.cuda, 'is_available', lambda: True)
    config = Config(dict(launcher='pytorch'))
    prepare_cpu_distributed(config)
    assert not torch.distributed.is_initialized()
    assert 'model_wrapper_cfg' not in config


@pytest.mark.parametrize('own', [None, dict(type='MMDistributedDataParallel', device_ids=None)])
def test_on_a_cpu_it_is_gloo_and_the_users_wrapper_stays(monkeypatch, own):
    monkeypatch.setattr(torch.cuda, 'is_available', lambda: False)
    started = []
    monkeypatch.setattr(torch.distributed, 'init_process_group', started.append)
    config = Config(dict(launcher='pytorch', model_wrapper_cfg=own))
    prepare_cpu_distributed(config)
    assert started == ['gloo']
    assert config.model_wrapper_cfg.device_ids is None
    assert ('broadcast_buffers' in config.model_wrapper_cfg) is (own is None)
