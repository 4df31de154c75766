"""The files of docs/how-to/extending.md run as they stand there."""

import json
import os
import re
import sys

import pytest
import torch

FILES = (
    *('fixed_steps.py', 'try_attack.py', 'reverse_kl.py', 'similarity.py', 'sure_kd.py'),
    *('boundary_features.py', 'worst_class.py', 'own_parts.py'),
)


@pytest.fixture(scope='module')
def page(tmp_path_factory, root):
    """A folder with the files of the page, and what it says that one of them prints."""
    folder = tmp_path_factory.mktemp('own_parts')
    text = (root / 'docs' / 'how-to' / 'extending.md').read_text()
    for block in re.findall(r'^```python\n(.*?)^```', text, flags=re.DOTALL | re.MULTILINE):
        for name in re.findall(r'\A# (\w+\.py)\n', block):  # the others are parts of a config
            (folder / name).write_text(block)
    assert sorted(path.name for path in folder.iterdir()) == sorted(FILES)
    (printed,) = re.findall(r'^tensor\(.*\n', text, flags=re.MULTILINE)
    return folder, printed


def test_the_parts_train_in_the_config_of_the_page(page, root, build_model, forked):
    folder, _ = page
    from mmbss.teachers.classifiers import load_model_config

    teacher = build_model(load_model_config('mmbss::baseline/resnet14_1xb64-30e_digits.py'))
    torch.save(teacher.state_dict(), folder / 'teacher.pth')

    def enter():
        os.chdir(folder)
        sys.path.insert(0, str(folder))

    forked(
        root / 'tools' / 'train.py',
        'own_parts.py',
        '--work-dir',
        'run',
        '--cfg-options',
        'model.teacher.checkpoint=teacher.pth',
        'train_cfg.max_epochs=1',
        'train_dataloader.dataset.indices=128',
        'default_hooks.logger.interval=1',
        # the teacher is untrained
        'default_hooks.teacher_accuracy.min_accuracy=0',
        before=enter,
    )
    (scalars,) = (folder / 'run').glob('*/vis_data/scalars.json')
    names = {name for line in scalars.read_text().splitlines() for name in json.loads(line)}
    assert names >= {'loss_kd', 'loss_similarity', 'loss_sure', 'sure_kept', 'bss_accepted'}
    assert names >= {'loss_features_there', 'features_there_moved', 'worst_class/top1'}
    # what was trained can be read from the config beside the checkpoint
    dumped = (folder / 'run' / 'own_parts.py').read_text()
    own = re.findall(
        r'^class (\w+)\(', ''.join((folder / name).read_text() for name in FILES), re.M
    )
    assert len(own) == 6
    assert all(re.search(rf'\b{name}\b', dumped) for name in own)


def test_the_attack_prints_what_the_page_says(page, monkeypatch, capsys):
    folder, printed = page
    monkeypatch.syspath_prepend(folder)
    monkeypatch.delitem(sys.modules, 'fixed_steps', raising=False)
    exec(compile((folder / 'try_attack.py').read_text(), 'try_attack.py', 'exec'), {})
    assert capsys.readouterr().out == printed
    from mmbss.registry import ATTACKS

    ATTACKS.module_dict.pop('FixedSteps')
    sys.modules.pop('fixed_steps')
