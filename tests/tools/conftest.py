"""Whole runs, in forks or processes of their own: each is started once and read by many tests."""

import json
import os
import shutil
import socket
import subprocess
import sys
import sysconfig
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from mmengine.config import Config

MMPRETRAIN_TOOL = Path(sysconfig.get_paths()['purelib'], 'mmpretrain/.mim/tools/train.py')


def read(folder, output=''):
    """What a run has left behind."""
    records = []
    for path in sorted(Path(folder).glob('*/vis_data/scalars.json')):
        records += [json.loads(line) for line in path.read_text().splitlines()]
    return SimpleNamespace(
        folder=Path(folder),
        output=output,
        train=[record for record in records if 'lr' in record],
        accuracy={r['step']: r['accuracy/top1'] for r in records if 'accuracy/top1' in r},
        checkpoint=lambda name: torch.load(Path(folder) / name, map_location='cpu'),
        config=lambda: Config.fromfile(next(Path(folder).glob('*.py'))),
    )


@pytest.fixture(scope='session')
def read_run():
    return read


@pytest.fixture(scope='session')
def configs(tmp_path_factory, bss_settings, write_config):
    """Config files of the short BSS run and of its student alone."""
    folder = tmp_path_factory.mktemp('configs')
    bss = bss_settings('unused')
    bss.pop('work_dir')
    added = ('teacher', 'losses')
    student = {key: value for key, value in bss['model'].items() if key not in added}
    plain = dict(bss, model=dict(student, type='ImageClassifier'), custom_hooks=[])
    return SimpleNamespace(
        folder=folder,
        bss=write_config(folder / 'bss.py', bss),
        student=write_config(folder / 'student.py', plain),
    )


@pytest.fixture(scope='session')
def train(forked, root):
    """Run tools/train.py, or mmpretrain's, to its end."""

    def train(config, folder, *flags, tool=root / 'tools' / 'train.py'):
        completed = forked(tool, config, '--work-dir', folder, *flags)
        return read(folder, completed.stdout + completed.stderr)

    return train


@pytest.fixture(scope='session')
def bss_run(configs, train, tmp_path_factory):
    """Four epochs of BSS with TensorBoard files; the attack ends after two."""
    return train(configs.bss, tmp_path_factory.mktemp('bss_run'), '--track', 'tensorboard')


@pytest.fixture(scope='session')
def resumed_run(configs, bss_run, train, tmp_path_factory):
    """The same, gone on from the checkpoint of its second epoch in another folder."""
    folder = tmp_path_factory.mktemp('resumed_run')
    shutil.copy(bss_run.folder / 'epoch_2.pth', folder)
    (folder / 'last_checkpoint').write_text(str(folder / 'epoch_2.pth'))
    return train(configs.bss, folder, '--resume')


@pytest.fixture(scope='session')
def ema_run(configs, train, tmp_path_factory, write_config):
    """Three epochs of BSS with an exponential moving average of the weights."""
    config = Config.fromfile(configs.bss)
    config.train_cfg.max_epochs = 3
    config.custom_hooks.append(dict(type='EMAHook', momentum=0.1))
    path = write_config(configs.folder / 'ema.py', config.to_dict())
    return train(path, tmp_path_factory.mktemp('ema_run'))


@pytest.fixture(scope='session')
def amp_run(configs, train, tmp_path_factory):
    """One epoch of BSS in bfloat16, two batches an update."""
    options = ['train_cfg.max_epochs=1', 'optim_wrapper.accumulative_counts=2']
    folder = tmp_path_factory.mktemp('amp_run')
    return train(configs.bss, folder, '--amp', '--cfg-options', *options)


@pytest.fixture(scope='session')
def mmpretrain_run(configs, train, tmp_path_factory):
    """Four epochs of BSS through mmpretrain's own tool."""
    return train(
        configs.bss,
        tmp_path_factory.mktemp('mmpretrain_run'),
        '--no-persistent-workers',
        '--no-pin-memory',
        '--cfg-options',
        # the one of our tool's own hooks that has a part in the result
        'default_hooks.step_seed.type=mmbss.StepSeedHook',
        tool=MMPRETRAIN_TOOL,
    )


@pytest.fixture(scope='session')
def two_process_run(configs, root, tmp_path_factory, write_config):
    """Two epochs of BSS in two processes over gloo, through tools/dist_train.sh.

    The first is trained with a hint, too.
    """
    folder = tmp_path_factory.mktemp('two_process_run')
    config = Config.fromfile(configs.bss)
    config.train_cfg.max_epochs = 2
    layer = 'backbone.layer2'
    config.model.losses.loss_hint = dict(
        type='mmbss.HintLoss',
        student=layer,
        teacher=layer,
        student_channels=4,
        teacher_channels=16,
    )
    config.custom_hooks[0].schedules.loss_hint = dict(start=1.0, end=0.0, until=0.5)
    # without it each process validates with the BatchNorm statistics of its own batches
    config.custom_hooks.append(dict(type='SyncBuffersHook'))
    path = write_config(configs.folder / 'two_processes.py', config.to_dict())
    with socket.socket() as free:
        free.bind(('127.0.0.1', 0))
        port = free.getsockname()[1]
    binaries = str(Path(sys.executable).parent)
    completed = subprocess.run(
        [
            'bash',
            str(root / 'tools' / 'dist_train.sh'),
            str(path),
            '2',
            '--work-dir',
            str(folder),
        ],
        env=dict(
            os.environ,
            PATH=f'{binaries}{os.pathsep}{os.environ["PATH"]}',
            PORT=str(port),
            OMP_NUM_THREADS='1',
        ),
        capture_output=True,
        text=True,
        check=False,
    )
    assert completed.returncode == 0, completed.stderr[-4000:]
    return read(folder, completed.stdout + completed.stderr)
