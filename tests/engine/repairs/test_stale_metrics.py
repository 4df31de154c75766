import json

import pytest
from mmengine.config import Config
from mmengine.evaluator import BaseMetric
from mmengine.runner import Runner

from mmbss.registry import METRICS


@METRICS.register_module()
class FirstOnly(BaseMetric):
    """Says something of the first validation alone."""

    default_prefix = 'first'
    count = 0

    def process(self, data_batch, data_samples):
        self.results.append(1)

    def compute_metrics(self, results):
        FirstOnly.count += 1
        return dict(seen=float(len(results))) if FirstOnly.count == 1 else {}


@pytest.fixture
def train(run_settings, resnet_config, tmp_path):
    def train(name, metrics, epochs, resume=None):
        config = Config(run_settings(tmp_path / name, resnet_config(), epochs=epochs))
        config.experiment_name = f'{tmp_path.name}_{name}'
        config.train_dataloader.dataset.indices = 64
        config.val_evaluator = metrics
        config.default_hooks.checkpoint.save_best = None
        config.resume, config.load_from = resume is not None, resume
        Runner.from_cfg(config).train()
        (scalars,) = (tmp_path / name).glob('*/vis_data/scalars.json')
        records = [json.loads(line) for line in scalars.read_text().splitlines()]
        return [record for record in records if 'lr' not in record]

    return train


def test_a_validation_logs_what_it_has_measured_alone(train, tmp_path):
    FirstOnly.count = 0
    accuracy, first = dict(type='Accuracy', topk=(1,)), dict(type='mmbss.FirstOnly')
    one, other = train('run', [accuracy, first], epochs=2)
    assert {'accuracy/top1', 'first/seen'} <= one.keys()
    assert one.keys() - other.keys() == {'first/seen'}
    assert 'time' in other
    error = dict(type='SingleLabelMetric', items=('recall',))
    checkpoint = str(tmp_path / 'run' / 'epoch_2.pth')
    (last,) = train('on', [error], epochs=3, resume=checkpoint)
    assert last['step'] == 3
    assert 'single-label/recall' in last
    assert 'accuracy/top1' not in last
