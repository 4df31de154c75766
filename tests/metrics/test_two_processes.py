import mmengine
import pytest
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


def run(rank, config, folder):
    """Test as one of two processes; the first writes what was found."""
    config.launcher = 'pytorch'
    config.model_wrapper_cfg = dict(
        type='MMDistributedDataParallel', device_ids=None, broadcast_buffers=False
    )
    config.test_dataloader.batch_size = 8
    config.experiment_name = 'two'
    metrics = Runner.from_cfg(config).test()
    mmengine.dump(metrics, folder / f'{rank}.json')


def test_two_processes_find_what_one_finds(config, in_two_processes, tmp_path):
    config.experiment_name = 'one'
    one = Runner.from_cfg(config.copy()).test()
    in_two_processes(run, config, tmp_path)
    first, second = (mmengine.load(tmp_path / f'{rank}.json') for rank in (0, 1))
    expected = ('boundary_similarity/mag_sim', 'agreement/kl', 'calibration/ece_scaled')
    later = ('boundary_visibility/seen', 'transition/error', 'corruption_accuracy/mean')
    assert {*expected, *later} <= set(one)
    assert 5 < one['boundary_similarity/pairs'] < one['boundary_similarity/pairs_tried'] < 45
    assert first == second == pytest.approx(one, rel=1e-3)
