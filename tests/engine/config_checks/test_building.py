import copy
import json
from pathlib import Path

import numpy as np
import pytest
import torch
from mmengine.config import Config
from mmengine.dataset import BaseDataset
from mmengine.fileio import put_text
from mmengine.hooks import Hook
from mmengine.optim import OptimWrapper, OptimWrapperDict
from mmengine.registry import OPTIM_WRAPPER_CONSTRUCTORS
from mmengine.runner import Runner

from mmbss.engine.config_checks import build_runner, named_start
from mmbss.engine.errors import ConfigError
from mmbss.registry import DATASETS, HOOKS, MODELS


@pytest.fixture
def config(run_settings, resnet_config, tmp_path):
    """The config of a short training without a teacher."""
    return Config(run_settings(tmp_path, resnet_config(), epochs=1))


def draws():
    return torch.rand(1).item(), np.random.rand()


# ---------------------------------------------------------------- a right config


def test_random_numbers_are_drawn_as_if_mmengine_built_each_part_when_it_is_due(config):
    runner = build_runner(copy.deepcopy(config))
    ours = [*draws(), *(p.sum().item() for p in runner.model.parameters())]
    runner = Runner.from_cfg(copy.deepcopy(config))
    runner.train_loop, runner.val_loop  # noqa: B018 - builds them
    theirs = [*draws(), *(p.sum().item() for p in runner.model.parameters())]
    assert ours == theirs


def test_the_learning_rate_is_scaled_once_and_before_its_schedule(config):
    config.auto_scale_lr = dict(enable=True, base_batch_size=64)
    config.param_scheduler = dict(type='LinearLR', start_factor=0.1, by_epoch=False, end=4)
    runner = build_runner(config)
    rate = runner.optim_wrapper.param_groups[0]
    assert rate['lr'] == pytest.approx(0.05 / 2 * 0.1)
    assert rate['initial_lr'] == pytest.approx(0.05 / 2)
    runner.train()
    assert rate['lr'] == pytest.approx(0.05 / 2)


def test_a_test_builds_nothing_of_the_training(config):
    config.train_dataloader.dataset.split = 'no such split'
    config.optim_wrapper.optimizer.weight_decay = -1.0
    runner = build_runner(config, training=False)
    assert set(runner.test()) == {'accuracy/top1'}


@pytest.fixture
def constructor():
    """Register a constructor of optimizers."""
    yield OPTIM_WRAPPER_CONSTRUCTORS.register_module
    OPTIM_WRAPPER_CONSTRUCTORS.module_dict.pop('TestConstructor')


def sgd_of(parameters):
    return OptimWrapper(torch.optim.SGD(parameters, 0.1))


def test_a_constructor_may_know_the_optimizer(config, constructor):
    constructor(name='TestConstructor', module=lambda **_: lambda net: sgd_of(net.parameters()))
    config.optim_wrapper = dict(constructor='TestConstructor')
    assert build_runner(config).optim_wrapper.get_lr() == dict(lr=[0.1])


# ---------------------------------------------------------------- a wrong one


def test_several_optimizers_are_refused(config, constructor):
    def of_parts(network):
        parts = ('backbone', 'head')
        return OptimWrapperDict(**{k: sgd_of(getattr(network, k).parameters()) for k in parts})

    constructor(name='TestConstructor', module=lambda **_: of_parts)
    config.optim_wrapper.constructor = 'TestConstructor'
    with pytest.raises(ConfigError, match='several optimizers, but a classifier is trained by one'):
        build_runner(config)


@pytest.mark.parametrize(
    ('part', 'change', 'line'),
    [
        ('randomness', dict(seed=2**40), r'^randomness: ValueError'),
        ('env_cfg', dict(mp_cfg=dict(mp_start_method='x')), r'^env: ValueError: .*x'),
        ('train_dataloader', dict(batch_size=-1), r'^train_dataloader: ValueError: batch_size'),
        ('val_dataloader', dict(batch_size=-1), r'^val_dataloader: ValueError: batch_size'),
        ('auto_scale_lr', dict(enable=True, _delete_=True), r'auto_scale_lr'),
        pytest.param(
            'optim_wrapper',
            dict(type='AmpOptimWrapper'),
            r'^optim_wrapper: .*mmbss\.CPUAmpOptimWrapper',
            marks=pytest.mark.skipif(torch.cuda.is_available(), reason='a GPU takes it'),
        ),
    ],
)
def test_what_mmengine_raises_is_named_by_the_part_it_builds(config, part, change, line):
    config.merge_from_dict({part: change})
    with pytest.raises(ConfigError, match=line):
        build_runner(config)


@DATASETS.register_module(name='TestBroken')
class Broken(BaseDataset):
    """Has a bug."""

    def __init__(self):
        {}['split']


@MODELS.register_module(name='TestUnfinished')
class Unfinished(torch.nn.Module):
    """Has another."""

    def __init__(self, width=None):
        super().__init__()
        self.width = width + 1


def test_a_bug_in_a_class_of_the_user_keeps_its_traceback(config):
    broken = copy.deepcopy(config)
    broken.train_dataloader.dataset = dict(type='mmbss.TestBroken')
    with pytest.raises(KeyError, match='split'):
        build_runner(broken)
    config.model.backbone = dict(type='mmbss.TestUnfinished')
    with pytest.raises(TypeError, match='NoneType'):
        build_runner(config)


def test_a_bug_hides_no_mistake_and_no_mistake_is_made_of_a_bug(config):
    config.model.backbone = dict(type='mmbss.TestUnfinished')
    config.optim_wrapper.optimizer.lr = -1.0
    with pytest.raises(ConfigError) as error:
        build_runner(config)
    assert len(error.value.args) == 1
    assert 'optim_wrapper.optimizer.lr=-1.0' in error.value.args[0]


def test_wrong_arguments_of_a_class_of_the_user_are_a_mistake_of_the_config(config):
    config.model.backbone = dict(type='mmbss.TestUnfinished', widht=3)
    with pytest.raises(ConfigError, match="no key 'widht', did you mean 'width'"):
        build_runner(config)


# ---------------------------------------------------------------- what mmengine leaves open


@pytest.mark.parametrize('logger', [dict(type='LoggerHook', interval=2), None])
def test_a_training_by_iteration_logs_iterations(config, logger, tmp_path):
    config.experiment_name = tmp_path.name  # else a run of the same second has its log
    config.train_cfg = dict(by_epoch=False, max_iters=4, val_interval=4)
    config.param_scheduler = None
    config.default_hooks.checkpoint.by_epoch = False
    config.default_hooks.pop('logger')
    if logger:
        config.default_hooks.logger = logger
    runner = build_runner(config)
    runner.train()
    (log,) = Path(runner.log_dir).glob('vis_data/scalars.json')
    last = json.loads(log.read_text().splitlines()[-1])
    assert last['step'] == 4
    assert 'accuracy/top1' in last
    text = next(Path(runner.log_dir).glob('*.log')).read_text()
    assert 'Iter(val)' in text
    assert '[1][' not in text


@pytest.mark.parametrize(
    ('wrong', 'message'),
    [
        (dict(log_processor=dict(by_epoch=True)), 'by_epoch=False'),
        ({'default_hooks.logger.log_metric_by_epoch': True}, 'by_epoch=False'),
        (dict(log_processor='LogProcessor'), 'log_processor must be a dict'),
    ],
)
def test_epochs_in_the_log_of_a_training_by_iteration_are_refused(config, wrong, message):
    config.train_cfg = dict(by_epoch=False, max_iters=4, val_interval=4)
    config.param_scheduler = None
    config.default_hooks.checkpoint.by_epoch = False
    config.merge_from_dict(wrong)
    with pytest.raises(ConfigError, match=message):
        build_runner(config)


def test_a_run_without_test_data_is_not_tested(config):
    for name in ('test_dataloader', 'test_cfg', 'test_evaluator'):
        config[name] = None
    with pytest.raises(ConfigError, match='give test_dataloader'):
        build_runner(config, training=False)


# ---------------------------------------------------------------- data that are not there


PIPELINE = [dict(type='LoadImageFromFile'), dict(type='PackInputs')]


@pytest.mark.parametrize(
    ('dataset', 'place'),
    [
        (dict(type='CustomDataset', data_root='none/'), "data_root='none/'"),
        (dict(type='CustomDataset', data_prefix='none'), "data_prefix='none'"),
        (dict(type='CustomDataset', ann_file='none.txt'), "ann_file='none.txt'"),
        (dict(type='ImageNet', data_root='none', split='train'), "data_root='none'"),
    ],
)
def test_a_missing_folder_is_said_with_the_setting_that_names_it(config, dataset, place):
    config.train_dataloader.dataset = dict(dataset, pipeline=PIPELINE)
    with pytest.raises(ConfigError, match=f'correct .*train_dataloader.dataset.{place}') as error:
        build_runner(config)
    assert len(error.value.args) == 1


@pytest.mark.parametrize(
    ('kind', 'archive'),
    [
        ('CIFAR10', 'cifar-10-python.tar.gz of https://www'),
        ('CIFAR100', 'cifar-100-python.tar.gz of https://www'),
        ('MNIST', 'train-images-idx3-ubyte.gz, .* of http'),
    ],
)
def test_a_download_that_fails_says_what_to_put_where(config, kind, archive, monkeypatch, tmp_path):
    monkeypatch.delenv('no_proxy', raising=False)
    for name in ('http_proxy', 'https_proxy'):
        monkeypatch.setenv(name, 'http://127.0.0.1:9')  # where nobody answers
    dataset = dict(type=kind, data_root=str(tmp_path / 'none'), split='train', pipeline=[])
    config.train_dataloader.dataset = dataset
    message = f'train_dataloader.dataset: {kind} is not whole in .*none.*{archive}.*mmbss.Digits'
    with pytest.raises(ConfigError, match=message):
        build_runner(config)


@pytest.mark.parametrize('content', [None, b'half'])
def test_a_dataset_that_is_not_to_be_downloaded_or_damaged_names_its_archive(
    config, content, monkeypatch, tmp_path
):
    monkeypatch.setenv('https_proxy', 'http://127.0.0.1:9')
    if content:
        (tmp_path / 'cifar-10-python.tar.gz').write_bytes(content)
    config.train_dataloader.dataset = dict(
        type='CIFAR10', data_root=str(tmp_path), split='train', pipeline=[], download=bool(content)
    )
    with pytest.raises(ConfigError, match=r'put cifar-10-python\.tar\.gz of https') as error:
        build_runner(config)
    assert len(error.value.args) == 1


@pytest.mark.parametrize(
    ('name', 'text'),
    [('train.txt', 'a.png 0\nb.png\n'), ('train.txt', 'a.png cat\n'), ('train.json', '{"a": 1')],
)
def test_a_mistake_in_annotations_names_their_file(config, name, text, tmp_path):
    path = tmp_path / name
    path.write_text(text)
    kind = 'CustomDataset' if name.endswith('txt') else 'BaseDataset'
    config.train_dataloader.dataset = dict(type=kind, ann_file=str(path), pipeline=PIPELINE)
    with pytest.raises(ConfigError, match=f'train_dataloader.dataset.ann_file=.*{name}') as error:
        build_runner(config)
    assert len(error.value.args) == 1


# ---------------------------------------------------------------- the start of a run


@HOOKS.register_module(name='TestBuggy')
class Buggy(Hook):
    """Has a bug that shows before training."""

    def before_train(self, runner):
        raise TypeError('a bug')


def test_only_hooks_of_libraries_speak_of_the_config_when_a_run_starts(config):
    config.custom_hooks = [dict(type='EMAHook', begin_epoch=9)]
    with pytest.raises(ConfigError, match=r'^hook EMAHook: .*begin_epoch: 9'), named_start():
        build_runner(copy.deepcopy(config)).train()
    config.custom_hooks = [dict(type='mmbss.TestBuggy')]
    with pytest.raises(TypeError, match='a bug'), named_start():
        build_runner(config).train()


def test_an_error_in_a_batch_is_none_of_the_start():
    with pytest.raises(RuntimeError, match='expected input'), named_start():
        torch.nn.Conv2d(3, 1, 1)(torch.zeros(1, 2, 4, 4))


def test_a_full_disk_at_the_start_is_that_of_the_work_dir():
    def _init_model_weights():
        put_text('x', '/dev/full')

    with pytest.raises(ConfigError, match=r'^work_dir: .*No space .*--work-dir'), named_start():
        _init_model_weights()
