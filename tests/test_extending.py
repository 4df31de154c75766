"""The example of docs/how-to/extending.md runs as it stands there."""

import json
import os
import re
import sys

import pytest

FILES = ('my_feature_loss.py', 'my_term.py', 'my_config.py')


@pytest.fixture(scope='session')
def example(tmp_path_factory, root):
    """A folder with the files of the example."""
    folder = tmp_path_factory.mktemp('example')
    text = (root / 'docs' / 'how-to' / 'extending.md').read_text()
    blocks = re.findall(r'^```python\n(.*?)^```', text, flags=re.DOTALL | re.MULTILINE)
    named = {name: b for b in blocks for name in FILES if b.startswith(f'# {name}\n')}
    assert sorted(named) == sorted(FILES), 'each file stands in a block of its own'
    for name, block in named.items():
        (folder / name).write_text(block)
    return folder


@pytest.fixture(scope='session')
def teacher_checkpoint(example):
    """Fresh weights for the teacher that the example's config names."""
    import torch
    from mmengine.config import Config
    from mmengine.registry import DefaultScope

    from mmbss.distillers.classifiers import load_model_config
    from mmbss.registry import MODELS

    config = Config.fromfile(example / 'my_config.py', import_custom_modules=False)
    with DefaultScope.overwrite_default_scope('mmpretrain'):
        teacher = MODELS.build(load_model_config(config.model.teacher.config))
    teacher.init_weights()
    torch.save(teacher.state_dict(), example / 'teacher.pth')
    return example / 'teacher.pth'


def test_own_losses_and_terms_train_from_their_own_files(example, teacher_checkpoint, root, forked):
    def enter():
        os.chdir(example)
        sys.path.insert(0, str(example))

    forked(
        root / 'tools' / 'train.py',
        'my_config.py',
        '--work-dir',
        'run',
        '--cfg-options',
        f'model.teacher.checkpoint={teacher_checkpoint}',
        'train_cfg.max_epochs=1',
        'train_dataloader.dataset.indices=128',
        'default_hooks.logger.interval=1',
        # the teacher is untrained
        'default_hooks.teacher_accuracy.min_accuracy=0',
        before=enter,
    )
    (scalars,) = (example / 'run').glob('*/vis_data/scalars.json')
    records = [json.loads(line) for line in scalars.read_text().splitlines()]
    losses = {name for record in records for name in record if name.startswith('loss')}
    expected = {'loss_cls', 'loss_kd', 'loss_bss', 'loss_similarity', 'loss_features_there'}
    assert expected < losses
    assert all('features_there_moved' in record for record in records if 'loss_bss' in record)
    assert (example / 'run' / 'epoch_1.pth').is_file()
    (dumped,) = (example / 'run').glob('my_config.py')
    own = re.findall(r'class (\w+)\(', ''.join((example / f).read_text() for f in FILES[:2]))
    assert len(own) == 2
    assert all(re.search(rf'\b{name}\b', dumped.read_text()) for name in own)
