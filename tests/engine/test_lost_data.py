"""A data file that vanishes, or turns corrupt, in the middle of an epoch."""

from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from mmengine.hooks import Hook

from mmbss.engine.errors import readable_errors


@pytest.fixture
def pictures(tmp_path):
    """A folder of 24 pictures of 8 x 8 pixels, in two folders by class."""
    generator = np.random.default_rng(0)
    for index in range(24):
        path = tmp_path / 'pictures' / str(index % 2) / f'{index:02d}.png'
        path.parent.mkdir(parents=True, exist_ok=True)
        cv2.imwrite(str(path), generator.integers(0, 256, (8, 8, 3), dtype=np.uint8))
    return tmp_path / 'pictures'


READ = [dict(type='LoadImageFromFile')]


def loader(folder, workers, pipeline=READ):
    return dict(
        batch_size=8,
        num_workers=workers,
        persistent_workers=False,
        dataset=dict(
            type='CustomDataset',
            data_root=str(folder),
            pipeline=[*pipeline, dict(type='PackInputs')],
        ),
        sampler=dict(type='DefaultSampler', shuffle=False),
        collate_fn=dict(type='default_collate'),
    )


DAMAGE = dict(
    gone=lambda path: path.unlink(),
    empty=lambda path: path.write_bytes(b''),
    half=lambda path: path.write_bytes(path.read_bytes()[:60]),
    text=lambda path: path.write_text('no picture'),
)


class DamageHook(Hook):
    """Does something to a file in the middle of the second epoch."""

    def __init__(self, path, damage):
        self.path = path
        self.damage = damage
        self.checkpoint = None

    def before_train_epoch(self, runner):
        if runner.epoch == 1:
            self.checkpoint = (Path(runner.work_dir) / 'epoch_1.pth').read_bytes()

    def before_train_iter(self, runner, batch_idx, data_batch=None):
        if runner.epoch == 1 and batch_idx == 0:
            self.damage(self.path)


@pytest.fixture
def train(make_runner, resnet_config, pictures, tmp_path):
    """Train two epochs on the pictures; the hook does its damage in the second."""

    def train(workers, hook=None, pipeline=READ, **changes):
        runner = make_runner(
            resnet_config(in_channels=3, num_classes=2),
            work_dir=str(tmp_path / 'run'),
            train_dataloader=loader(pictures, workers, pipeline),
            data_preprocessor=dict(num_classes=2, mean=[127.0] * 3, std=[60.0] * 3),
            **changes,
        )
        if hook is not None:
            runner.register_hook(hook)
        runner.train()

    return train


@pytest.mark.parametrize('damage', DAMAGE)
def test_a_lost_picture_is_named_and_earlier_checkpoints_stay(train, pictures, tmp_path, damage):
    victim = pictures / '1' / '23.png'
    whole = victim.read_bytes()
    hook = DamageHook(victim, DAMAGE[damage])
    with pytest.raises(SystemExit) as caught, readable_errors():
        train(0, hook)
    assert str(caught.value).startswith(f'error: cannot read the image {victim} (')
    assert str(caught.value).endswith('then go on with --resume')
    assert '\n' not in str(caught.value)
    run = tmp_path / 'run'
    assert (run / 'epoch_1.pth').read_bytes() == hook.checkpoint
    assert not (run / 'epoch_2.pth').exists()
    assert (run / 'last_checkpoint').read_text() == str(run / 'epoch_1.pth')
    victim.write_bytes(whole)
    train(0, resume=True)
    assert torch.load(run / 'epoch_2.pth')['meta']['epoch'] == 2


@pytest.mark.parametrize('damage', ['gone', 'empty'])
def test_a_picture_that_a_worker_cannot_read_is_named(train, pictures, tmp_path, damage):
    # four batches, of which two workers have asked for all but the last: so it is done before
    victim = pictures / '1' / '23.png'
    hook = DamageHook(victim, DAMAGE[damage])
    hook.before_train_epoch = lambda runner: runner.epoch == 1 and DAMAGE[damage](victim)
    hook.before_train_iter = lambda *args, **kwargs: None
    with pytest.raises(SystemExit) as caught, readable_errors():
        train(2, hook)
    assert str(caught.value).startswith(f'error: cannot read the image {victim} (')
    assert str(caught.value).endswith('then go on with --resume')
    assert '\n' not in str(caught.value)
    assert sorted(path.name for path in (tmp_path / 'run').glob('*.pth')) == ['epoch_1.pth']
    assert torch.load(tmp_path / 'run' / 'epoch_1.pth')['meta']['epoch'] == 1


@pytest.mark.parametrize('workers', [0, 2])
def test_a_picture_that_a_step_cannot_use_is_named(train, pictures, workers):
    victim = pictures / '0' / '00.png'
    cv2.imwrite(str(victim), np.zeros((1, 60000), np.uint8))
    enlarge = dict(type='ResizeEdge', scale=2000, edge='short')  # to 720 GB
    with pytest.raises(SystemExit) as caught, readable_errors():
        train(workers, pipeline=[*READ, enlarge])
    said = str(caught.value)
    assert said.startswith(f'error: the pipeline cannot use the image {victim} of 60000 x 1 pixels')
    assert '\n' not in said


@pytest.mark.parametrize('workers', [0, 2])
@pytest.mark.parametrize('damage', ['gone', 'half'])
def test_a_file_of_arrays_is_in_memory_once_the_training_has_begun(
    make_runner, resnet_config, tmp_path, workers, damage
):
    path = tmp_path / 'data.npz'
    pixels = np.random.default_rng(0).integers(0, 256, (24, 8, 8), dtype=np.uint8)
    np.savez(path, images=pixels, labels=np.arange(24) % 10)
    dataset = dict(type='mmbss.ArrayDataset', data_file=str(path))
    runner = make_runner(
        resnet_config(),
        work_dir=str(tmp_path / 'run'),
        train_dataloader=dict(loader(tmp_path, workers), dataset=dataset),
    )
    runner.register_hook(DamageHook(path, DAMAGE[damage]))
    runner.train()
    assert (tmp_path / 'run' / 'epoch_2.pth').exists()
