"""Wrong configs: each ends the training tool in one line, before the first update."""

from pathlib import Path
from typing import Any, NamedTuple

import mmpretrain
import pytest
import torch
from mmengine.config import Config
from mmengine.optim import OptimWrapper

from mmbss.engine.config_checks import check_config
from mmbss.engine.config_checks.rules import missing_files
from mmbss.engine.errors import ConfigError

GONE = object()


class Updated(Exception):  # noqa: N818 - it is none
    """The optimizer was about to make its first step."""


class Bad(NamedTuple):
    """One wrong setting of the config, or of the command line, and what the message must say."""

    path: str
    value: Any
    remedy: str
    key: str | None = None  # the last part of the path, unless the message names another
    shown: str | None = None  # the value's repr, unless the message shows another

    def words(self):
        key = self.key or self.path.split('.')[-1]
        shown = '' if self.value is GONE else repr(self.value)
        return [key, shown if self.shown is None else self.shown, self.remedy]


SGD = dict(type='SGD', lr=0.1)
SWITCH = dict(type='SwitchRecipeHook')
CHECKPOINT = 'default_hooks.checkpoint'
DATA = 'train_dataloader.dataset'
OPTIMIZER = 'optim_wrapper.optimizer'
SCHEDULE = 'param_scheduler'
BOUNDARY = 'model.losses.loss_bss'

MISSPELT_KEYS = [
    Bad('optim_wraper', dict(optimizer=SGD), "did you mean 'optim_wrapper'", shown="'optimizer'"),
    Bad('param_schedulers', [dict(type='StepLR')], "did you mean 'param_scheduler'"),
    Bad('train_cfg.max_epoch', 3, "did you mean 'max_epochs'"),
    Bad('val_cfg.fp', True, "did you mean 'fp16'"),
    Bad('train_dataloader.batchsize', 8, "did you mean 'batch_size'"),
    Bad('val_dataloader.samplers', dict(type='DefaultSampler'), "did you mean 'sampler'"),
    Bad('train_dataloader.sampler.shufle', True, "did you mean 'shuffle'"),
    Bad('train_dataloader.collate_fn.typ', 'default_collate', 'It takes'),
    Bad(f'{DATA}.indicies', 64, "did you mean 'indices'"),
    Bad('optim_wrapper.acumulative_counts', 2, "did you mean 'accumulative_counts'"),
    Bad('optim_wrapper.grad_clip', dict(max_norm=1), 'It takes: accumulative_counts, clip_grad'),
    Bad(f'{OPTIMIZER}.momentun', 0.9, "did you mean 'momentum'"),
    Bad(f'{SCHEDULE}.milestone', [2], "did you mean 'milestones'"),
    Bad(f'{SCHEDULE}.gama', 0.1, 'unexpected keyword', shown=SCHEDULE),
    Bad(f'{CHECKPOINT}.max_keep_ckpt', 1, "did you mean 'max_keep_ckpts'"),
    Bad('default_hooks.logger.intervall', 5, "did you mean 'interval'"),
    Bad('default_hooks.bss.schedule', {}, "did you mean 'schedules'"),
    Bad('val_evaluator.top_k', (1,), "did you mean 'topk'"),
    Bad('visualizer.backends', [], "did you mean 'vis_backends'"),
    Bad('randomness.sed', 1, "did you mean 'seed'"),
    Bad('data_preprocessor.means', [0.0], "did you mean 'mean'"),
    Bad('model.backbon', dict(type='VGG'), "did you mean 'backbone'"),
    Bad('model.backbone.dept', 8, "did you mean 'depth'"),
    Bad('model.head.num_clases', 10, "did you mean 'num_classes'"),
    Bad(
        'model.head.loss',
        dict(type='CrossEntropyLoss', los_weight=1),
        "did you mean 'loss_weight'",
        'los_weight',
        '=1',
    ),
    Bad('model.teacher.checkpont', 'x.pth', "did you mean 'checkpoint'"),
    Bad('model.losses.loss_kd.temprature', 3.0, "did you mean 'temperature'"),
    Bad(f'{BOUNDARY}.num_base_sample', 8, "did you mean 'num_base_samples'"),
    Bad(f'{BOUNDARY}.attack.stepsize', 0.1, "did you mean 'step_size'"),
    Bad('auto_scale_lr.batch_size', 8, "did you mean 'base_batch_size'"),
    Bad('env_cfg.cudnn_benchmrk', True, "did you mean 'cudnn_benchmark'"),
]

UNKNOWN_TYPES = [
    Bad('model.type', 'mmbss.Distler', "did you mean 'mmbss.Distiller'"),
    Bad('model.backbone.type', 'ResNett', "did you mean 'ResNet'"),
    Bad('model.head.type', 'LinearHead', "did you mean 'LinearClsHead'"),
    Bad('model.losses.loss_kd.type', 'mmbss.KDLos', "did you mean 'mmbss.KDLoss'"),
    Bad(f'{BOUNDARY}.attack.type', 'mmbss.BSAttack', "did you mean 'mmbss.BSSAttack'"),
    Bad(f'{DATA}.type', 'CIFAR', 'custom_imports'),
    Bad('train_dataloader.sampler.type', 'DefaultSampeler', "did you mean 'DefaultSampler'"),
    Bad('train_dataloader.collate_fn.type', 'defaut_collate', "did you mean 'default_collate'"),
    Bad('optim_wrapper.type', 'OptimWraper', "did you mean 'OptimWrapper'"),
    Bad(f'{OPTIMIZER}.type', 'SDG', "did you mean 'SGD'"),
    Bad(f'{SCHEDULE}.type', 'MultistepLR', "did you mean 'MultiStepLR'"),
    Bad('default_hooks.bss.type', 'mmbss.BSHook', "did you mean 'mmbss.BSSHook'"),
    Bad('visualizer.type', 'UniversalVisualiser', "did you mean 'UniversalVisualizer'"),
    Bad('data_preprocessor.type', 'ClsPreprocessor', "did you mean 'ClsDataPreprocessor'"),
    Bad(f'{DATA}.pipeline', [dict(type='PackInput')], "did you mean 'PackInputs'", shown=''),
]

MISSING = [
    Bad('model', GONE, "lacks 'model'"),
    Bad('train_cfg', GONE, 'should be either all None or not None'),
    Bad('train_dataloader', None, 'should be either all None or not None'),
    Bad('val_evaluator', None, 'should be either all None or not None'),
    Bad('optim_wrapper', None, 'should be either all None or not None'),
    Bad('train_cfg.by_epoch', GONE, 'by_epoch=True (with max_epochs)'),
    Bad('train_cfg.max_epochs', GONE, "lacks 'max_epochs'"),
    Bad('train_dataloader.batch_size', GONE, 'add it'),
    Bad('train_dataloader.sampler', GONE, 'add it'),
    Bad('val_dataloader.dataset', GONE, 'add it'),
    Bad(f'{DATA}.type', GONE, 'must be a dict with a type', shown="'split'"),
    Bad(f'{DATA}.split', GONE, "lacks 'split'"),
    Bad('optim_wrapper.optimizer', GONE, "lacks 'optimizer': add it"),
    Bad(f'{OPTIMIZER}.type', GONE, 'must be a dict with a type', shown='0.05'),
    Bad('model.type', GONE, 'must be a dict with a type'),
    Bad('model.backbone', GONE, "lacks 'backbone'"),
    Bad('model.head', GONE, 'add one to its config'),
    Bad('model.head.num_classes', GONE, "lacks 'num_classes'"),
    Bad('model.teacher', GONE, "lacks 'teacher'"),
    Bad('model.teacher.checkpoint', GONE, 'give teacher.checkpoint'),
    Bad(f'{BOUNDARY}.attack', GONE, "lacks 'attack'"),
    Bad(f'{SCHEDULE}.type', GONE, 'must be a dict with a type', shown='gamma'),
    Bad('default_hooks.bss.schedules.loss_kd.end', GONE, "lacks 'end': add it"),
]

WRONG_TYPES = [
    Bad('model.teacher.acceleration', dict(fuse_bn='often'), 'must be bool', 'fuse_bn', 'often'),
    Bad('train_cfg.max_epochs', 'ten', 'must be int'),
    Bad('train_cfg', [3], 'must be', shown='3'),
    Bad('train_cfg.by_epoch', 'yes', 'by_epoch=True (with max_epochs)'),
    Bad('train_dataloader', [dict(batch_size=8)], 'must be', shown='batch_size'),
    Bad('train_dataloader.batch_size', '32', 'positive integer', shown='32'),
    Bad('train_dataloader.num_workers', 1.5, 'must be a whole number'),
    Bad('train_dataloader.sampler.shuffle', 'yes', 'must be bool'),
    Bad(f'{DATA}', 'train.npz', 'must be a dict with a type'),
    Bad(f'{DATA}.pipeline', 'PackInputs', 'must be'),
    Bad(f'{OPTIMIZER}.lr', '0.1', 'must be'),
    Bad(f'{OPTIMIZER}', 'SGD', 'must be a dict with a type'),
    Bad(f'{SCHEDULE}', 'MultiStepLR', 'must be'),
    Bad(f'{SCHEDULE}.milestones', 40, 'must be'),
    Bad('custom_hooks', dict(type='EMAHook'), 'must be', shown='EMAHook'),
    Bad('custom_hooks.0', 'mmbss.BSSHook', 'must be a dict with a type', key='custom_hooks.0'),
    Bad('resume', 'epoch_2.pth', 'must be bool'),
    Bad('model.backbone', 'resnet8', 'must be a dict with a type'),
    Bad('model.backbone.depth', 'eight', 'must be int'),
    Bad('model.losses.loss_kd.temperature', 'hot', 'must be float'),
    Bad(f'{BOUNDARY}.num_base_samples', 'many', 'must be int'),
    Bad(f'{BOUNDARY}.attack.num_steps', 2.5, 'must be int'),
    Bad('data_preprocessor.std', ['a'], 'ValueError', 'data_preprocessor', 'str'),
    Bad('randomness.seed', 'random', 'int64', 'randomness', 'TypeError'),
    Bad('val_evaluator.topk', 'all', 'must be'),
    *(Bad(f'{CHECKPOINT}.save_best', each, 'must be') for each in (True, 1, [None], [], {})),
    Bad('custom_hooks.0', dict(type='EarlyStoppingHook', monitor=3), 'name of', 'monitor', '3'),
    Bad(f'{CHECKPOINT}.published_keys', ['nope'], "'state_dict' among them"),
    Bad('auto_scale_lr', True, 'must be'),
    Bad('env_cfg', 3, 'must be'),
    Bad('activation_checkpointing', ['nope'], 'no attribute', shown='nope'),
    Bad('efficient_conv_bn_eval', ['nope'], 'no attribute', shown='nope'),
    Bad('model.losses.loss_kd', [dict(type='mmbss.KDLoss')], 'must be a dict', shown='KDLoss'),
    Bad('model.losses.loss_kd', None, 'must be a dict'),
]

IMPOSSIBLE = [
    Bad('train_cfg.max_epochs', 0, 'at least 1'),
    Bad('train_cfg.val_interval', 0, 'at least 1'),
    Bad('train_dataloader.batch_size', -4, 'positive integer'),
    Bad('val_dataloader.batch_size', 0, 'positive integer'),
    Bad('train_dataloader.num_workers', -1, 'at least 0'),
    Bad(f'{DATA}.split', 'validation', "must be 'train' or 'test'"),
    Bad(f'{DATA}.pipeline', [], "add dict(type='PackInputs')", shown='gt_label'),
    Bad(f'{DATA}.indices', 0, 'take a smaller one', key='batch_size', shown='32'),
    Bad(f'{OPTIMIZER}.lr', -0.1, 'above 0'),
    Bad(f'{OPTIMIZER}.lr', float('nan'), 'finite'),
    Bad(f'{OPTIMIZER}.momentum', 1.9, 'below 1'),
    Bad(f'{OPTIMIZER}.weight_decay', -1e-4, 'Invalid'),
    Bad('optim_wrapper.accumulative_counts', 0, 'at least 1'),
    Bad('optim_wrapper.accumulative_counts', 2.5, 'a whole number of at least 1'),
    Bad('log_processor', dict(num_digits=-3), 'at least 0', 'num_digits', '-3'),
    Bad('train_dataloader.num_batch_per_epoch', 0, 'at least 1'),
    Bad('default_hooks.checkpoint.max_keep_ckpts', 2.0, 'a whole number'),
    Bad('optim_wrapper.clip_grad', dict(max_norm=0), 'above 0', 'max_norm', '=0'),
    Bad('optim_wrapper.clip_grad', dict(type='cut'), '"norm" or "value"', 'clip_grad', 'cut'),
    Bad(f'{SCHEDULE}.milestones', [20, 10], 'ascending'),
    Bad(f'{SCHEDULE}.gamma', -0.1, 'above 0'),
    Bad(f'{SCHEDULE}.begin', -1, 'at least 0'),
    Bad(f'{CHECKPOINT}.interval', 0, 'at least 1 or -1'),
    Bad(f'{CHECKPOINT}.max_keep_ckpts', 0, 'at least 1 or -1'),
    Bad(f'{CHECKPOINT}.save_best', 'acc', 'set it to one of accuracy/top1'),
    Bad('custom_hooks.0', dict(type='EMAHook', momentum=2), 'below 1', 'momentum', '2'),
    Bad(
        'custom_hooks.0',
        SWITCH | dict(schedule=[dict(action_epoch=0)]),
        'counted from 1',
        shown='0',
    ),
    Bad(
        'custom_hooks.0',
        SWITCH | dict(schedule=[dict(action_epoch=1, train_augments=None)]),
        "no key 'train_augments'",
        'custom_hooks.0.schedule.0',
        'batch_augments',
    ),
    Bad(
        'custom_hooks.0',
        SWITCH | dict(schedule=[dict(loss=None)]),
        "lacks 'action_epoch'",
        shown='',
    ),
    Bad(
        'model.backbone.init_cfg',
        dict(type='Pretrained', checkpoint='none.pth'),
        'no such file: correct the path',
        'model.backbone.init_cfg.checkpoint',
        'none.pth',
    ),
    Bad('default_hooks.bss.schedules.loss_kd.until', 1.5, 'in (0, 1]'),
    Bad('default_hooks.bss.schedules.loss_kd.start', -1.0, 'must not be negative'),
    Bad(
        'default_hooks.bss.schedules.loss_at',
        dict(start=1.0, end=0.0),
        'no loss is called',
        shown='',
    ),
    Bad('model.losses.loss_kd.loss_weight', 2.0, 'would be replaced by default_hooks.bss'),
    Bad('randomness.seed', -1, 'at least 0'),
    Bad('log_level', 'LOUD', "'DEBUG', 'INFO'"),
    Bad('load_from', 'none.pth', 'there is no such file'),
    Bad('auto_scale_lr.base_batch_size', 0, 'at least 1'),
    Bad('data_preprocessor.std', [0.0], 'above 0', shown='0.0'),
    Bad('data_preprocessor.flip_probability', 2.0, 'in [0, 1]'),
    Bad('model.head.num_classes', 0, 'positive integer'),
    Bad('model.backbone.depth', 9, 'depth'),
    Bad('model.head.loss', dict(type='CrossEntropyLoss', loss_weight=-1), '0', 'loss_weight', '-1'),
    Bad('model.losses.loss_kd.temperature', 0, 'must be positive'),
    Bad('model.losses.loss_kd.loss_weight', -2.0, 'must not be negative'),
    Bad('model.losses', dict(kd=dict(type='mmbss.KDLoss')), 'must start with', 'losses', "'kd'"),
    Bad('model.losses', {1: dict(type='mmbss.KDLoss')}, 'must start with', 'losses', '1'),
    Bad('model.teacher.checkpoint', 'none.pth', 'train the teacher first or correct the path'),
    Bad('model.teacher.config', 'none.py', 'give a path'),
    Bad('model.teacher.acceleration', dict(precision='int8'), 'one of', 'precision', 'int8'),
    Bad(f'{BOUNDARY}.num_base_samples', 0, 'at least 1'),
    Bad(f'{BOUNDARY}.target_class', 'nearest', "must be 'probability'"),
    Bad(f'{BOUNDARY}.train_on', 'some', "must be 'accepted' or 'all'"),
    Bad(f'{BOUNDARY}.batch_norm', 'shared', "must be 'own'"),
    Bad(f'{BOUNDARY}.bounds', (1.0, 0.0), '(lowest, highest)'),
    Bad(f'{BOUNDARY}.attack.step_size', -0.3, 'must be positive'),
    Bad(f'{BOUNDARY}.attack.third_class', 'ignore', "must be 'reject'"),
    Bad(
        DATA,
        dict(type='mmbss.ArrayDataset', data_file='none.npz'),
        'correct the path',
        'data_file',
        "'none.npz'",
    ),
    Bad(
        DATA,
        dict(type='mmbss.StratifiedSubset', fraction=0.0, dataset=dict(type='mmbss.Digits')),
        "lacks 'split'",
        shown='',
    ),
    Bad(
        DATA,
        dict(
            type='mmbss.StratifiedSubset',
            fraction=1.5,
            dataset=dict(type='mmbss.Digits', split='train'),
        ),
        'in (0, 1]',
        'fraction',
        '1.5',
    ),
    Bad('val_evaluator.topk', (1, 20), 'number of categories is 10', 'val_evaluator', ''),
]

CONTRADICTING = [
    Bad('train_cfg.max_iters', 100, 'EpochBasedTrainLoop'),
    Bad('train_cfg.type', 'EpochBasedTrainLoop', 'either by_epoch=True'),
    Bad('train_cfg', dict(by_epoch=False, max_epochs=3), "mean 'max_iters'", 'max_epochs', '3'),
    Bad(
        'train_cfg',
        dict(by_epoch=False, max_iters=3),
        'set param_scheduler.by_epoch=False',
        'default_hooks.checkpoint.by_epoch',
        'True',
    ),
    Bad('train_dataloader.shuffle', True, 'sampler', shown='exclusive'),
    Bad('train_dataloader.prefetch_factor', 0, 'at least 1'),
    Bad('train_dataloader.prefetch_factor', 2, 'num_workers', shown='only'),
    Bad('model.head.num_classes', 7, 'give both the same classes', 'student'),
    Bad('model.teacher.config.head.num_classes', 7, 'does not fit', 'teacher.checkpoint', ''),
    Bad('model.head.in_channels', 10, 'correct model.backbone.in_channels'),
    Bad('model.backbone.in_channels', 3, 'correct model.backbone.in_channels'),
    Bad('data_preprocessor.mean', [1.0, 2.0], 'got 2 channels', 'model.teacher', '[2, 2, 8, 8]'),
    Bad(f'{OPTIMIZER}.momentum', 0, 'requires a momentum', 'Nesterov', OPTIMIZER),
    Bad(
        SCHEDULE,
        dict(type='CosineAnnealingLR', eta_min=1.0),
        'at most optim_wrapper.optimizer.lr=0.05',
        'eta_min',
        '1.0',
    ),
    Bad(
        SCHEDULE,
        dict(type='LinearLR', start_factor=0.1, begin=5, end=2),
        'should be larger than begin',
        'end',
        '2',
    ),
    Bad('auto_scale_lr', dict(enable=True), 'base_batch_size', shown='Lack'),
    Bad(
        f'{DATA}.pipeline',
        [dict(type='RandomFlip', prob=0.5)],
        "add dict(type='PackInputs') at its end",
        shown='flip',
    ),
    Bad(
        'model.train_cfg',
        dict(augments=dict(type='Mixup', alpha=0.8)),
        'remove train_cfg.augments',
        shown='augments',
    ),
    Bad('model.type', 'ImageClassifier', 'has no key', key="'teacher'", shown='ImageClassifier'),
    Bad('custom_hooks.0', dict(type='mmbss.TeacherCacheHook', file='a.txt'), '.npz', 'file', 'a.t'),
]

EMA = dict(type='EMAHook')
WEIGHTS = dict(start=4.0, end=1.0)
LOSS = 'default_hooks.bss.schedules.loss_kd'
PARAMWISE = 'optim_wrapper.paramwise_cfg'
INF, NAN = float('inf'), float('nan')

#: Parts that no registry builds.
WITHOUT_TYPE = [
    Bad('optim_wrapper.clip_grad', dict(maxnorm=1), "did you mean 'max_norm'", 'maxnorm', '=1'),
    Bad('optim_wrapper.clip_grad', dict(), "lacks 'max_norm'", shown=''),
    Bad('optim_wrapper.clip_grad', dict(max_norm='1'), 'must be float', 'max_norm', "'1'"),
    Bad(
        'optim_wrapper.clip_grad',
        dict(type='value', clip_val=1),
        "did you mean 'clip_value'",
        'clip_val',
        '=1',
    ),
    Bad(PARAMWISE, dict(norm_decay_mul=0), "did you mean 'norm_decay_mult'", shown='norm_decay'),
    Bad(PARAMWISE, dict(bias_lr_mult='2'), 'a number of at least 0', 'bias_lr_mult', "'2'"),
    Bad(
        PARAMWISE,
        dict(custom_keys=dict(backbone=dict(lr_mul=0.1))),
        "did you mean 'lr_mult'",
        "custom_keys['backbone']",
        'lr_mul',
    ),
    Bad(PARAMWISE, dict(custom_keys=dict(backbone=0.1)), 'must be a dict', shown='0.1'),
    Bad('default_hooks.bss.priority', 'VERY_HIGHT', 'one of HIGHEST, VERY_HIGH'),
    Bad('default_hooks.bss.priority', 101, 'whole number from 0 to 100'),
    Bad('env_cfg', dict(mp_cfg=dict(mp_start_methd='fork')), "mean 'mp_start_method'", shown='mp'),
    Bad('env_cfg', dict(dist_cfg=dict(bakend='gloo')), "did you mean 'backend'", shown='bakend'),
    Bad('compile', dict(bakend='eager'), "did you mean 'backend'", shown='bakend'),
    Bad('model_wrapper_cfg', dict(type='MMDistributed'), 'registry', shown="'MMDistributed'"),
    Bad('sync_bn', 'torc', "'torch', 'mmcv'"),
    Bad('runner_type', 'FlexibleRunner', 'resume an epoch too late'),
    Bad('runner_type', 'mmengine.FlexibleRunner', 'resume an epoch too late'),
    Bad('model.backbone.init_cfg', dict(typ='Kaiming'), 'must be a dict with a type', shown='typ'),
    Bad('model.backbone.init_cfg', dict(type='Kaimin'), "mean 'Kaiming'", shown="'Kaimin'"),
    Bad(LOSS, 4.0, 'must be a dict', 'loss_kd'),
    Bad(LOSS, WEIGHTS | dict(untill=0.5), "did you mean 'until'", shown='untill=0.5'),
]

NUMBERS = [
    Bad(f'{LOSS}.start', '4.0', 'must be float'),
    Bad(f'{LOSS}.start', True, 'must be float'),
    Bad(f'{LOSS}.start', INF, 'finite', shown='inf'),
    Bad(f'{LOSS}.until', '0.5', 'must be float'),
    Bad(f'{OPTIMIZER}.lr', True, 'must be float'),
    Bad(f'{OPTIMIZER}.weight_decay', INF, 'finite', shown='inf'),
    Bad(f'{OPTIMIZER}.nesterov', 0.9, 'must be bool'),
    Bad('optim_wrapper.accumulative_counts', True, 'must be int'),
    Bad(f'{SCHEDULE}.gamma', True, 'must be float'),
    Bad(f'{SCHEDULE}.end', 0.5, 'a whole number of at least 1'),
    Bad(SCHEDULE, dict(type='CosineAnnealingLR', eta_min=NAN), 'finite', 'eta_min', 'nan'),
    Bad(SCHEDULE, dict(type='CosineAnnealingLR', eta_min=-1.0), 'at least 0', 'eta_min', '-1.0'),
    Bad(SCHEDULE, dict(type='PolyLR', power=INF), 'finite', 'power', 'inf'),
    Bad('train_cfg.max_epochs', True, 'must be int'),
    Bad('randomness.seed', True, 'a whole number'),
    Bad('auto_scale_lr.enable', 'yes', 'must be bool'),
    Bad('env_cfg.cudnn_benchmark', 'no', 'must be bool'),
    Bad('find_unused_parameters', 'False', 'must be bool'),
    Bad(PARAMWISE, dict(bypass_duplicate='yes'), 'must be bool', 'bypass_duplicate', "'yes'"),
    Bad(PARAMWISE, dict(bias_lr_mult=NAN), 'a number of at least 0', 'bias_lr_mult', 'nan'),
    Bad('model.losses.loss_kd.temperature', INF, 'finite', shown='inf'),
    Bad(f'{BOUNDARY}.num_base_samples', True, 'must be int'),
    Bad(f'{BOUNDARY}.bounds', (0.0, 1.0, 2.0), 'tuple[float, float]'),
    Bad(f'{BOUNDARY}.bounds', ('0', '1'), 'tuple[float, float]'),
    Bad(f'{BOUNDARY}.attack.step_size', INF, 'finite', shown='inf'),
    Bad('data_preprocessor.mean', 77.9, 'a list with a number for each channel'),
]

#: Two of what there may be one of, and what is not there.
TOO_MANY_OR_NONE = [
    Bad('custom_hooks.0', dict(type='mmbss.BSSHook'), 'default_hooks.bss are both', shown='BSS'),
    Bad('custom_hooks', [EMA, EMA | dict(momentum=0.1)], 'remove one of the two', shown='EMAHook'),
    Bad('custom_hooks.0', dict(type='mmbss.FiniteLossHook'), 'are both', shown='Finite'),
    Bad('custom_hooks.0', EMA | dict(begin_epoch=9), 'max_epochs: 1', 'EMAHook', '9'),
    Bad('custom_hooks.0', EMA | dict(ema_type='Mean'), 'registry', 'EMAHook', 'Mean'),
    Bad('custom_hooks.0', EMA | dict(momentun=0.1), 'unexpected keyword', 'EMAHook', 'momentun'),
    Bad(
        'custom_hooks.0',
        dict(type='EarlyStoppingHook', monitor='accuracy/top9'),
        'one of accuracy/top1',
        'monitor',
        "'accuracy/top9'",
    ),
    Bad(
        'custom_hooks.0',
        dict(type='mmbss.TeacherCacheHook', file='dir.npz'),
        'a folder',
        'file',
        'dir.npz',
    ),
    Bad('custom_hooks.0', dict(type=''), 'registry', shown="type=''"),
    Bad('model.type', '', 'registry'),
    Bad('model.backbone.type', '.', 'registry'),
    Bad('model.losses', [dict(type='mmbss.KDLoss')], 'must be dict', shown='KDLoss'),
    Bad('model.head', None, 'add one to its config', shown=''),
    Bad('default_hooks', [dict(type='LoggerHook')], 'must be a dict'),
    Bad('train_cfg.val_begin', 99, 'lower it'),
    Bad(
        SCHEDULE,
        dict(a=dict(type='MultiStepLR', milestones=[2])),
        'KeyError: type',
        shown='',
    ),
    Bad('default_scope', 'mmpretrai', "such as 'mmpretrain'"),
]

MMBSS = [
    Bad('model.teacher.channels_last', True, 'It takes: acceleration'),
    Bad('default_hooks.finite_loss', dict(action='skip'), 'It takes: nothing', 'action', 'skip'),
    Bad(
        'default_hooks.fingerprint',
        dict(acept_changes=True),
        "did you mean 'accept_changes'",
        'acept_changes',
        'True',
    ),
    Bad('default_hooks.teacher_accuracy', dict(min_accuracy=2), '[0, 1]', 'min_accuracy', '2'),
    Bad('default_hooks.teacher_accuracy', dict(), 'min_accuracy=0', 'teacher', '%'),
]

CASES = [
    *MISSPELT_KEYS,
    *UNKNOWN_TYPES,
    *MISSING,
    *WRONG_TYPES,
    *IMPOSSIBLE,
    *CONTRADICTING,
    *WITHOUT_TYPE,
    *NUMBERS,
    *TOO_MANY_OR_NONE,
    *MMBSS,
]


@pytest.fixture(scope='module')
def base(tmp_path_factory, run_settings, resnet_config, boundary_config, build_model, favour_class):
    """Make the config of a short run of BSS that is right, with a teacher that knows nothing."""
    checkpoint = tmp_path_factory.mktemp('teacher') / 'teacher.pth'
    teacher = favour_class(build_model(resnet_config()), lead=100.0)  # never right by chance
    torch.save(teacher.state_dict(), checkpoint)

    def make(folder):
        model = resnet_config(
            teacher=dict(config=resnet_config(), checkpoint=str(checkpoint)),
            losses=dict(
                loss_kd=dict(type='mmbss.KDLoss', temperature=3.0), loss_bss=boundary_config()
            ),
        )
        model['type'] = 'mmbss.Distiller'
        hook = dict(type='mmbss.BSSHook', schedules=dict(loss_kd=dict(start=4.0, end=1.0)))
        config = Config(run_settings(folder, model, epochs=1, custom_hooks=[])).to_dict()
        accuracy = dict(type='mmbss.TeacherAccuracyHook', min_accuracy=0)
        config['default_hooks'] |= dict(bss=hook, teacher_accuracy=accuracy)
        return config

    return make


@pytest.fixture
def run(call_tool, monkeypatch, tmp_path):
    """Run tools/train.py on a config up to its first update; gives the line it ends with."""

    def update(self, loss):
        raise Updated

    monkeypatch.setattr(OptimWrapper, 'update_params', update)
    monkeypatch.setattr('mmengine.runner.runner.collect_env', dict)
    monkeypatch.chdir(tmp_path)
    (tmp_path / 'dir.npz').mkdir()

    def run(config, *flags):
        file = tmp_path / 'config.py'
        text = config
        if not isinstance(config, str):
            text = '\n'.join(f'{key} = {value!r}' for key, value in config.items())
            text = f"nan, inf = float('nan'), float('inf')\n{text}"
        file.write_text(text)
        with pytest.raises(SystemExit) as error:
            call_tool('train', file, '--work-dir', tmp_path, *flags)
        return str(error.value)

    return run


def edit(config, path, value):
    *parents, last = path.split('.')
    for key in parents:
        config = config[int(key)] if isinstance(config, list) else config.setdefault(key, {})
    if value is GONE:
        config.pop(last)
    elif isinstance(config, list) and int(last) == len(config):
        config.append(value)
    elif isinstance(config, list):
        config[int(last)] = value
    else:
        config[last] = value


def identify(bad):
    return f'{bad.path}={"missing" if bad.value is GONE else bad.value!r}'[:60]


def check_line(line, words):
    assert line.startswith('error: ')
    assert '\n' not in line
    for word in words:
        assert word in line, line


def test_the_config_that_the_others_differ_from_is_right(base, run, tmp_path):
    with pytest.raises(Updated):
        run(base(tmp_path))


@pytest.mark.parametrize('bad', CASES, ids=identify)
def test_a_wrong_config_ends_in_one_line_before_the_first_update(bad, base, run, tmp_path):
    config = base(tmp_path)
    edit(config, bad.path, bad.value)
    check_line(run(config), bad.words())


#: What replaces the type of an entry whose old keys stay, unless it says _delete_.
REPLACED = {
    'ours': (DATA, dict(type='mmbss.ArrayDataset', data_file='none.npz'), 'split'),
    'a loss': ('model.losses.loss_kd', dict(type='mmbss.HardKDLoss'), 'temperature'),
}


@pytest.mark.parametrize(('path', 'entry', 'left'), REPLACED.values(), ids=REPLACED)
def test_keys_that_a_replaced_type_leaves_name_their_cure(path, entry, left, base):
    config = Config(base('unused'))
    config.merge_from_dict({f'{path}.{key}': value for key, value in entry.items()})
    with pytest.raises(ConfigError, match=f"no key '{left}'.*add _delete_=True"):
        check_config(config)
    config = Config(base('unused'))
    config.merge_from_dict({path: dict(entry, _delete_=True)})
    check_config(config)


def test_a_key_that_mmpretrain_finds_left_names_the_same_cure(base, run, tmp_path):
    config = base(tmp_path)
    edit(config, f'{DATA}.type', 'CustomDataset')
    edit(config, f'{DATA}.data_root', 'images')
    check_line(run(config), [DATA, "'split'", 'add _delete_=True'])


@pytest.mark.parametrize(('weight', 'is_refused'), [(0.1, True), (1.0, False)])
def test_a_schedule_replaces_no_other_weight_of_the_head(weight, is_refused, base):
    config = Config(base('unused'))
    config.model.head.loss = dict(type='CrossEntropyLoss', loss_weight=weight)
    config.default_hooks.bss.schedules.loss_cls = dict(start=1.0, end=0.5)
    if is_refused:
        with pytest.raises(ConfigError, match=r'model\.head\.loss\.loss_weight=0\.1 would be'):
            check_config(config)
    else:
        check_config(config)


def test_a_slip_of_the_pen_is_not_taken_for_inherited(base):
    config = Config(base('unused'))
    config.model.losses.loss_kd.temprature = 2.0
    with pytest.raises(ConfigError, match='temprature') as error:
        check_config(config)
    assert '_delete_' not in str(error.value)


@pytest.mark.parametrize(
    ('name', 'is_trainable'),
    {
        'mmbss::baseline/resnet14_1xb64-30e_digits.py': True,
        'mine.py': True,
        'none.py': False,
        'timm:resnet18': False,
    }.items(),
)
def test_a_missing_teacher_names_the_command_that_trains_one(
    name, is_trainable, base, tmp_path, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    Path('mine.py').touch()
    config = Config(base('unused'))
    config.model.teacher = dict(config=name, checkpoint='none.pth')
    (line,) = missing_files(config)
    assert (f'python tools/train.py {name} ' in line) == is_trainable


def test_several_mistakes_are_reported_at_once(base, run, tmp_path):
    config = base(tmp_path)
    mistakes = {
        'optim_wrapper.optimizer.momentun': 0.9,  # seen in the signature of a class
        'train_dataloader.sampler.shufle': True,
        'default_hooks.logger.interval': 0,  # against a rule
        'val_evaluator.type': 'Acuracy',
        'model.teacher.checkpoint': 'none.pth',
    }
    for path, value in mistakes.items():
        edit(config, path, value)
    lines = run(config).splitlines()
    assert all(line.startswith('error: ') for line in lines)
    for path in mistakes:
        parent, _, key = path.rpartition('.')
        assert [key in line and parent in line for line in lines].count(True) == 1, (path, lines)
    assert len(lines) == len(mistakes)


@pytest.mark.parametrize(
    ('entry', 'key', 'value'),
    [
        ('model.losses.loss_kd', 'temperature', 0),
        (f'{BOUNDARY}.attack', 'num_steps', 0),
        (OPTIMIZER, 'weight_decay', -1.0),
        (DATA, 'split', 'validation'),
        (f'{DATA}.pipeline.0', 'scale', None),
        (SCHEDULE, 'gama', 0.1),
        ('default_hooks.teacher_accuracy', 'min_accuracy', 2),
        ('model.teacher.config.backbone', 'depth', 9),
    ],
)
def test_what_cannot_be_built_is_named_by_its_path(entry, key, value, base, run, tmp_path):
    config = base(tmp_path)
    edit(config, f'{DATA}.pipeline', [dict(type='Resize', scale=8), dict(type='PackInputs')])
    edit(config, f'{entry}.{key}', value)
    assert run(config).startswith(f'error: {entry}: ')


OUTDATED = [
    ('optimizer', SGD, 'optim_wrapper'),
    ('lr_config', dict(policy='step', step=[3]), 'param_scheduler'),
    ('checkpoint_config', dict(interval=5), 'default_hooks'),
    ('seed', 3, 'randomness'),
]


@pytest.mark.parametrize(('old', 'value', 'new'), OUTDATED)
def test_a_name_of_openmmlab_1_is_refused_where_its_successor_is_missing(
    old, value, new, base, run, tmp_path
):
    config = base(tmp_path)
    config.pop(new)
    config[old] = value
    check_line(run(config), [f'{old}=', repr(value)[:10], f'move it to {new}'])


OPTIONS = [
    ('train_cfg.max_epoch=3', 'max_epoch=3', "did you mean 'max_epochs'"),
    ('optim_wraper.optimizer.lr=0.1', 'optim_wraper=0.1', "did you mean 'optim_wrapper'"),
    ('lr=0.1', 'lr=0.1', '--cfg-options: the config has no key'),
    ('custom_hooks.4.type=EMAHook', 'custom_hooks.4.type=EMAHook', 'correct the path of the key'),
    ('train_cfg.max_epochs.value=3', 'max_epochs', 'correct the path of the key'),
    ('train_cfg.max_epochs=', 'max_epochs', 'must be int'),
    ('default_scope=mmpretrai', "'mmpretrai'", "such as 'mmpretrain'"),
]


@pytest.mark.parametrize(('option', 'key', 'remedy'), OPTIONS)
def test_a_wrong_option_ends_in_one_line(option, key, remedy, base, run, tmp_path):
    check_line(run(base(tmp_path), '--cfg-options', option), [key, remedy])


@pytest.mark.parametrize(
    'option',
    [
        *('param_scheduler.milestones=[1,2', 'param_scheduler.milestones=[1', 'a=(1,[2)]'),
        *('model.head=dict(type=LinearClsHead,in_channels=8)', 'model.head=dict(a=1)', 'a={b:1}'),
        'a=[dict(b=1)]',
    ],
)
def test_an_option_whose_value_cannot_be_read_is_refused(option, base, run, tmp_path, capsys):
    run(base(tmp_path), '--cfg-options', option)
    line = capsys.readouterr().err.splitlines()[-1]
    assert repr(option) in line
    assert 'KEY.SUBKEY=VALUE' in line


def test_an_option_that_is_no_pair_is_refused(base, run, tmp_path, capsys):
    run(base(tmp_path), '--cfg-options', 'train_cfg.max_epochs')
    assert "'train_cfg.max_epochs' is no KEY=VALUE" in capsys.readouterr().err.splitlines()[-1]


@pytest.mark.parametrize(
    ('flag', 'section'),
    [
        ('--amp', 'optim_wrapper'),
        ('--auto-scale-lr', 'auto_scale_lr'),
        ('--track=tensorboard', 'visual'),
    ],
)
def test_a_flag_for_a_part_that_is_missing_is_refused(flag, section, base, run, tmp_path):
    config = {key: value for key, value in base(tmp_path).items() if not key.startswith(section)}
    check_line(run(config, flag), [flag.partition('=')[0], section, 'add it'])


FILES = [
    ('model = dict(', 'SyntaxError', 'correct the file'),
    ('model = dict(type=Resnet)', "NameError: name 'Resnet' is not defined (line 1", 'correct'),
    ("_base_ = ['none.py']", 'none.py', 'correct the file or its path'),
    ("_base_ = ['config.py']", 'RecursionError', '_base_ may go round in a circle'),
    ("_base_ = 'mmpretrain::resnet/none.py'", 'none.py', 'correct'),
    ("custom_imports = dict(imports=['no_such_module'])", 'no_such_module', 'correct'),
    ("custom_imports = dict(imprts=['mmbss'])", 'imprts', 'correct'),
    ('', "lacks 'model'", 'add it'),
    ("model = dict(type='ImageClassifier', type='X')", 'keyword argument repeated', 'correct'),
    ("model = 1 + 'a'", 'TypeError', 'line 1'),
]


@pytest.mark.parametrize(('text', 'shown', 'remedy'), FILES)
def test_a_config_file_that_cannot_be_read_ends_in_one_line(text, shown, remedy, run):
    check_line(run(text), [shown, remedy])


@pytest.mark.parametrize('scope', [GONE, None])
def test_without_a_default_scope_it_is_that_of_mmpretrain(scope, base, run, tmp_path):
    config = base(tmp_path)
    edit(config, 'default_scope', scope)
    with pytest.raises(Updated):
        run(config)


def test_names_of_parameters_that_there_are_not_are_logged(base, run, tmp_path):
    config = base(tmp_path)
    edit(config, PARAMWISE, dict(custom_keys={'backbone': dict(lr_mult=0.1), 'bakbone': {}}))
    # the default name is that of the second, so another test may have it too, with its log
    edit(config, 'experiment_name', 'no_such_parameter')
    with pytest.raises(Updated):
        run(config)
    (log,) = tmp_path.glob('*/*.log')
    assert 'no parameter is called bakbone' in log.read_text()


def test_a_teacher_that_says_infinity_is_refused(base, run, tmp_path):
    config = base(tmp_path)
    state = torch.load(config['model']['teacher']['checkpoint'])
    state['head.fc.weight'] = torch.full_like(state['head.fc.weight'], 3e38)
    torch.save(state, tmp_path / 'high.pth')
    edit(config, 'model.teacher.checkpoint', str(tmp_path / 'high.pth'))
    check_line(run(config), ['model.teacher', 'NaN or infinity', 'correct'])


def test_a_distiller_without_any_loss_is_refused(base, run, tmp_path):
    config = base(tmp_path)
    edit(config, 'model.losses', {})
    edit(config, 'default_hooks.bss', GONE)
    check_line(run(config), ['model.losses', 'add a loss'])


def test_none_stands_for_no(base):
    config = Config(base('unused'))
    config.merge_from_dict(
        {
            'env_cfg.cudnn_benchmark': None,
            'find_unused_parameters': None,
            'auto_scale_lr.enable': None,
            'optim_wrapper.paramwise_cfg': dict(bypass_duplicate=None),
            f'{SCHEDULE}.convert_to_iter_based': None,
        }
    )
    check_config(config)


def test_names_of_a_users_own_are_left_alone(base):
    config = Config(base('unused'))
    config.merge_from_dict(dict(my_optimizer=dict(lr=1), train_dataloader2=dict(), optimizer={}))
    check_config(config)


ROOT = Path(__file__).resolve().parents[3] / 'configs'
THEIRS = Path(mmpretrain.__file__).parent / '.mim' / 'configs'
GOOD = [path for path in sorted(ROOT.glob('**/*.py')) if '_base_' not in path.parts]
GOOD += [
    THEIRS / name
    for name in (
        'resnet/resnet18_8xb16_cifar10.py',
        'vision_transformer/vit-base-p16_64xb64_in1k.py',
        'swin_transformer/swin-tiny_16xb64_in1k.py',
        'mobilenet_v3/mobilenet-v3-small_8xb16_cifar10.py',
        'efficientnet/efficientnet-b0_8xb32_in1k.py',
        'deit/deit-base-distilled_16xb64_in1k.py',
        'convnext/convnext-tiny_32xb128_in1k.py',
        'csra/resnet101-csra_1xb16_voc07-448px.py',
        'arcface/resnet50-arcface_8xb32_inshop.py',
        'mae/mae_vit-base-p16_8xb512-amp-coslr-300e_in1k.py',
        'simclr/simclr_resnet50_16xb256-coslr-200e_in1k.py',
        'clip/clip_vit-base-p16_zeroshot-cls_in1k.py',
    )
]


@pytest.mark.parametrize('path', GOOD, ids=lambda path: path.stem)
def test_a_right_config_passes(path):
    check_config(Config.fromfile(path))
