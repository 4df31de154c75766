import importlib.util
import os
import shutil
import sys

import pytest
import torch


@pytest.fixture(scope='module')
def kill_resume(root):
    spec = importlib.util.spec_from_file_location('kill_resume', root / 'benchmarks/kill_resume.py')
    module = importlib.util.module_from_spec(spec)
    sys.modules['kill_resume'] = module
    spec.loader.exec_module(module)
    return module


def test_a_killed_and_resumed_run_equals_one_left_alone(
    kill_resume, digits_teacher, tmp_path, monkeypatch, fork
):
    def start(config, folder):
        log = folder / 'output.log'
        return fork(
            *(kill_resume.ROOT / 'tools/train.py', config, '--resume', '--work-dir', folder),
            output=(log, log),
            before=os.setsid,
        )

    def config(*arguments):
        cfg = run_config(*arguments)
        cfg.model.teacher.update(digits_teacher)
        return cfg

    run_config = kill_resume.run_config
    monkeypatch.setattr(kill_resume, 'run_config', config)
    monkeypatch.setattr(kill_resume, 'start', start)
    monkeypatch.setattr(kill_resume, 'LATEST', 0.2)
    result = kill_resume.compare(tmp_path, kills=1, workers=2, epochs=5, seed=0, interval=4)
    assert result['killed_while_training'] + result['killed_while_writing'] >= 1
    assert result['differences'] == []


def test_differences_are_found(kill_resume, bss_run_like, tmp_path):
    one, other = bss_run_like
    assert kill_resume.differences(one, other) == []
    checkpoint = torch.load(other / 'epoch_1.pth')
    checkpoint['optimizer']['state'][0]['momentum_buffer'][0] += 1e-7
    torch.save(checkpoint, other / 'epoch_1.pth')
    log = next(other.glob('*/vis_data/scalars.json'))
    log.write_text(log.read_text().replace('"loss": ', '"loss": 1', 1))
    names = kill_resume.differences(one, other)
    assert names == ['optimizer.state.0.momentum_buffer', 'train 2']


@pytest.fixture
def bss_run_like(make_runner, resnet_config, tmp_path):
    """Two copies of the folder of a run with an average of the weights."""
    folder = tmp_path / 'one'
    runner = make_runner(
        resnet_config(),
        epochs=1,
        work_dir=folder,
        custom_hooks=[dict(type='EMAHook', momentum=0.1)],
    )
    runner.train()
    shutil.copytree(folder, tmp_path / 'other')
    return folder, tmp_path / 'other'
