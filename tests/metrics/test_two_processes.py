import multiprocessing
import os

import mmengine
import pytest
import torch
from mmengine.config import Config
from mmengine.runner import Runner


@pytest.fixture
def config(digits_teacher, digits_student, metric_configs, tmp_path):
    """Config of a test with all metrics on a number of samples that two cannot share evenly."""
    config = Config.fromfile(digits_teacher['config'])
    config.default_hooks.model_metrics = dict(type='mmbss.ModelMetricHook')
    config.test_dataloader.dataset.indices = 61
    config.test_dataloader.batch_size = 61
    config.test_evaluator = [
        dict(type='Accuracy', topk=(1,)),
        dict(type='mmbss.CalibrationError'),
        *metric_configs(num_samples=45).values(),
    ]
    config.load_from = str(digits_student)
    config.work_dir = str(tmp_path)
    return config


def run(config, rank, folder):
    """Test as one of two processes; the first writes what was found."""
    os.environ['LOCAL_RANK'] = str(rank)
    torch.distributed.init_process_group(
        'gloo', init_method=f'file://{folder}/rendezvous', rank=rank, world_size=2
    )
    config.launcher = 'pytorch'
    config.model_wrapper_cfg = dict(
        type='MMDistributedDataParallel', device_ids=None, broadcast_buffers=False
    )
    config.test_dataloader.batch_size = 8
    config.experiment_name = 'two'
    metrics = Runner.from_cfg(config).test()
    mmengine.dump(metrics, folder / f'{rank}.json')


def test_two_processes_find_what_one_finds(config, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    config.experiment_name = 'one'
    one = Runner.from_cfg(config.copy()).test()
    # not a new interpreter, which would import everything once more
    context = multiprocessing.get_context('fork')
    processes = [context.Process(target=run, args=(config, rank, tmp_path)) for rank in (0, 1)]
    for process in processes:
        process.start()
    for process in processes:
        process.join(timeout=120)
    assert [process.exitcode for process in processes] == [0, 0]
    first, second = (mmengine.load(tmp_path / f'{rank}.json') for rank in (0, 1))
    assert {'boundary_similarity/mag_sim', 'agreement/kl', 'calibration/ece'} <= set(one)
    assert 5 < one['boundary_similarity/pairs'] < one['boundary_similarity/pairs_tried'] < 45
    assert first == second == pytest.approx(one, rel=1e-3)
