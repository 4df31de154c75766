import pytest
import torch
from mmengine.config import Config
from mmengine.runner import Runner

HOOK = dict(type='mmbss.BoundaryVisualizationHook', interval=1, num_samples=2, num_candidates=40)


@pytest.fixture
def config(bss_settings, tmp_path):
    """Config of two short epochs, after each of which a picture is drawn."""
    settings = bss_settings(tmp_path, epochs=2)
    settings['custom_hooks'].append(HOOK)
    settings['train_dataloader']['dataset']['indices'] = 64
    settings['val_dataloader']['dataset']['indices'] = 60
    settings['experiment_name'] = 'two'
    return Config(settings)


def run(rank, config, folder):
    """Train as one of two processes; each tells its weights and how often it has drawn."""
    config.launcher = 'pytorch'
    config.model_wrapper_cfg = dict(
        type='MMDistributedDataParallel', device_ids=None, broadcast_buffers=False
    )
    runner = Runner.from_cfg(config)
    drawn = []
    runner.visualizer.add_image = lambda name, image, step: drawn.append((name, image.shape, step))
    runner.train()
    bias = runner.model.module.head.fc.bias.detach()
    torch.save(dict(drawn=drawn, bias=bias), folder / f'{rank}.pth')


def test_one_of_two_processes_draws_and_both_train_to_the_end(config, in_two_processes, tmp_path):
    in_two_processes(run, config, tmp_path)
    first, second = (torch.load(tmp_path / f'{rank}.pth') for rank in (0, 1))
    assert [(name, step) for name, _, step in first['drawn']] == [
        ('boundary_samples', 1),
        ('boundary_samples', 2),
    ]
    assert second['drawn'] == []
    assert torch.equal(first['bias'], second['bias'])
