import json
import sys
from pathlib import Path

import cv2
import pytest
import torch
from mmengine.config import Config
from mmengine.runner import Runner

from mmbss.attacks import BSSAttack
from mmbss.engine.errors import ConfigError
from mmbss.visualization import boundary_visualization_hook
from mmbss.visualization.boundary_visualization_hook import BoundaryVisualizationHook

HOOK = dict(type='mmbss.BoundaryVisualizationHook', interval=2, num_samples=2, num_candidates=40)


@pytest.fixture
def train(bss_settings, tmp_path):
    """Train on the digits for three epochs, with validation; gives the runner."""

    def train(name, *hooks, **changes):
        settings = bss_settings(tmp_path / name, epochs=3, **changes)
        settings['custom_hooks'] += hooks
        settings['experiment_name'] = f'{tmp_path.name}_{name}'
        settings['train_dataloader']['dataset']['indices'] = 64
        runner = Runner.from_cfg(Config(settings))
        runner.train()
        return runner

    return train


def losses(runner):
    (log,) = Path(runner.work_dir).glob('*/vis_data/scalars.json')
    records = [json.loads(line) for line in log.read_text().splitlines()]
    return [record['loss'] for record in records if 'loss' in record]


def test_pictures_reach_every_back_end_and_training_stays_as_it_is(train, tmp_path):
    back_ends = [dict(type='LocalVisBackend'), dict(type='TensorboardVisBackend')]
    visualizer = dict(type='UniversalVisualizer', vis_backends=back_ends)
    drawn = train('drawn', HOOK, visualizer=visualizer)
    pictures = sorted(path.name for path in (tmp_path / 'drawn').glob('*/vis_data/vis_image/*'))
    assert pictures == ['boundary_samples_2.png', 'boundary_samples_3.png']
    image = cv2.imread(str(next((tmp_path / 'drawn').glob('*/vis_data/vis_image/*_2.png'))))
    assert image.shape[1] > 800
    assert image.std() > 20
    (events,) = (tmp_path / 'drawn').glob('*/vis_data/events.out.*')
    assert b'boundary_samples' in events.read_bytes()
    plain = train('plain')
    assert losses(drawn) == losses(plain)
    for name, value in plain.model.state_dict().items():
        assert torch.equal(drawn.model.state_dict()[name], value)


def test_the_attack_is_that_of_the_boundary_term(bss_settings, count_calls, tmp_path):
    settings = bss_settings(tmp_path, experiment_name=tmp_path.name)
    runner = Runner.from_cfg(Config(settings))
    attacks = count_calls(boundary_visualization_hook, 'find_boundary_pairs')
    hook = BoundaryVisualizationHook(num_candidates=40)
    hook.before_train(runner)
    assert attacks[0][3] is runner.model.terms['loss_bss'].attack
    runner.model.terms.clear()
    hook.before_train(runner)
    assert type(attacks[1][3]) is BSSAttack


@pytest.mark.parametrize('name', ['interval', 'num_samples', 'num_candidates'])
def test_counts_have_to_be_positive(name):
    with pytest.raises(ValueError, match=f'{name} must be at least 1, got 0'):
        BoundaryVisualizationHook(**{name: 0})


def test_what_it_needs_is_checked_before_training(make_runner, make_distiller, resnet_config):
    hook = BoundaryVisualizationHook()
    runner = make_runner(resnet_config())
    with pytest.raises(ValueError, match=r'the model is a ImageClassifier: use mmbss\.Distiller'):
        hook.before_train(runner)
    runner.model = make_distiller()
    with pytest.raises(ValueError, match='needs a val_dataloader'):
        hook.before_train(runner)


def test_a_visualizer_without_back_end_is_refused(train):
    with pytest.raises(ValueError, match='the visualizer has no back end'):
        train('mute', HOOK, visualizer=dict(type='UniversalVisualizer', vis_backends=[]))


def test_a_missing_matplotlib_ends_the_run_before_it_starts(
    make_runner, resnet_config, monkeypatch
):
    runner = make_runner(resnet_config())
    monkeypatch.setitem(sys.modules, 'matplotlib', None)
    monkeypatch.delitem(sys.modules, 'mmbss.visualization.draw_samples', raising=False)
    monkeypatch.delattr('mmbss.visualization.draw_samples', raising=False)
    with pytest.raises(ConfigError, match=r"matplotlib .*pip install 'mmbss\[report\]'"):
        BoundaryVisualizationHook().before_train(runner)
