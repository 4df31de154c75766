import math
import re

import numpy as np
import pytest
import torch
from mmengine.config import Config
from mmpretrain import get_model
from mmpretrain.registry import DATASETS

from mmbss.engine.errors import ConfigError
from mmbss.registry import MODELS

STATISTICS = ('samples', 'accepted', 'third_class', 'not_crossed', 'steps', 'gap')


# ---------------------------------------------------------------- a run, as it is logged


def test_losses_learning_rate_and_weights_are_logged(bss_run):
    assert len(bss_run.train) == 4 * 3, 'every second of six iterations an epoch'
    for record in bss_run.train:
        assert {'lr', 'loss', 'loss_cls', 'loss_kd', 'weight_kd', 'weight_bss'} <= set(record)
        assert all(math.isfinite(v) for v in record.values() if isinstance(v, float))
    weights = [(record['weight_kd'], record['weight_bss']) for record in bss_run.train[::3]]
    assert weights == [(4.0, 2.0), (3.25, 1.0), (2.5, 0.0), (1.75, 0.0)]
    assert [record['lr'] for record in bss_run.train[::3]] == [0.05, 0.05, 0.025, 0.0125]


def test_the_logged_loss_is_the_sum_of_the_losses_alone(bss_run):
    # mmengine logs means over ten iterations, which must not span the end of the attacks
    for record in bss_run.train[:6]:
        parts = sum(record[f'loss_{name}'] for name in ('cls', 'kd', 'bss'))
        assert record['loss'] == pytest.approx(parts, rel=1e-4)
    last = bss_run.train[-1]
    assert last['loss'] == pytest.approx(last['loss_cls'] + last['loss_kd'], rel=1e-4)


def test_attack_statistics_are_logged_while_the_attack_runs(bss_run):
    early = [record for record in bss_run.train if record['weight_bss'] > 0]
    attacked = [record for record in early if record['bss_samples'] > 0]
    assert len(early) == 6
    assert attacked
    for record in attacked:
        assert {f'bss_{name}' for name in STATISTICS} <= set(record)
        shares = [record[f'bss_{name}'] for name in ('accepted', 'third_class', 'not_crossed')]
        assert all(0 <= share <= 1 for share in shares)
        assert 0 <= record['bss_steps'] <= 4


def test_nothing_of_the_attack_is_logged_after_it_has_ended(bss_run):
    last = bss_run.train[-1]
    assert last['weight_bss'] == 0
    assert {name: last[name] for name in ('loss_bss', 'bss_samples') if last.get(name)} == {}


def test_time_left_is_in_the_log(bss_run):
    (log,) = bss_run.folder.glob('*/*.log')
    lines = [line for line in log.read_text().splitlines() if 'Epoch(train)' in line]
    assert len(lines) == 12
    assert all(' eta: ' in line and ' lr: ' in line for line in lines)
    assert ' bss_accepted: ' in lines[0]


def test_the_screen_says_what_is_done_and_leaves_the_rest_to_the_log(bss_run):
    (log,) = bss_run.folder.glob('*/*.log')
    first, _, rest = bss_run.output.partition('Epoch(train)')
    assert len(first.splitlines()) < 25
    for word in (
        *('CIFARResNet(', 'teacher, ', 'epoch_4.pth', 'images in batches of', '4 epochs, SGD('),
        *('loss_kd: KDLoss(temperature=3.0), weight 4 to 1', str(log), 'the teacher knows'),
        'BoundaryLoss(num_base_samples=8) with BSSAttack, weight 2 to 0 at 50 %',
    ):
        assert word in first, word
    for noise in ('System environment', 'Config:', 'Hooks will be', 'Exp name'):
        assert noise not in bss_run.output
        assert noise in log.read_text()
    assert 'Epoch(val)' in rest


def test_tensorboard_files_hold_losses_and_statistics(bss_run):
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    (path,) = bss_run.folder.glob('*/vis_data/events.out.tfevents.*')
    events = EventAccumulator(str(path)).Reload()
    assert {'loss_bss', 'loss_kd', 'lr', 'accuracy/top1', 'weight_kd', 'bss_gap'} <= set(
        events.Tags()['scalars']
    )
    assert [event.step for event in events.Scalars('accuracy/top1')] == [1, 2, 3, 4]


def test_no_tensorboard_files_unless_asked(resumed_run):
    assert not list(resumed_run.folder.glob('**/events.out.tfevents.*'))


def test_no_warning_about_registries(two_process_run):
    # of new interpreters, in which nothing had been imported
    assert 'Failed to search registry' not in two_process_run.output


def test_the_student_learns(bss_run):
    assert max(bss_run.accuracy.values()) > 20, 'twice what guessing gives'
    assert bss_run.train[-1]['loss_cls'] < bss_run.train[0]['loss_cls']


# ---------------------------------------------------------------- every checkpoint is a student


def plain_student(path):
    config = Config.fromfile(path)
    config.model.data_preprocessor = config.data_preprocessor
    return MODELS.build(config.model).eval()


def digits():
    dataset = DATASETS.build(dict(type='mmbss.Digits', split='test', test_mode=True))
    rows = [dataset[index] for index in range(len(dataset))]
    return dict(
        inputs=torch.stack([row['inputs'] for row in rows]),
        data_samples=[row['data_samples'] for row in rows],
    )


def measure(model):
    """Logits on the test digits, and the accuracy in percent."""
    data = digits()
    labels = torch.cat([sample.gt_label for sample in data['data_samples']])
    with torch.no_grad():
        logits = model(model.data_preprocessor(data)['inputs'])
    return logits, 100 * (logits.argmax(dim=1) == labels).float().mean().item()


@pytest.mark.parametrize('kind', ['last', 'mid-run', 'best', 'EMA', 'resumed', 'two processes'])
def test_checkpoint_loads_strictly_into_the_plain_student_with_equal_accuracy(
    kind, request, configs
):
    fixture = dict(EMA='ema_run', resumed='resumed_run').get(kind, 'bss_run')
    run = request.getfixturevalue('two_process_run' if kind == 'two processes' else fixture)
    epochs = sorted(run.accuracy)
    epoch = epochs[-1]
    if kind == 'mid-run':
        epoch = epochs[1]
    if kind == 'best':
        epoch = max(epochs, key=lambda e: (run.accuracy[e], -e))
    name = f'best_accuracy_top1_epoch_{epoch}.pth' if kind == 'best' else f'epoch_{epoch}.pth'

    student = plain_student(configs.student)
    student.load_state_dict(run.checkpoint(name)['state_dict'], strict=True)
    logits, accuracy = measure(student)
    assert accuracy == pytest.approx(run.accuracy[epoch], abs=1e-3)

    by_name = get_model(str(configs.student), pretrained=str(run.folder / name)).eval()
    again, accuracy = measure(by_name)
    assert torch.equal(logits, again)
    assert accuracy == pytest.approx(run.accuracy[epoch], abs=1e-3)


def test_a_checkpoint_holds_nothing_of_the_teacher(bss_run, ema_run, configs):
    plain = plain_student(configs.student).state_dict()
    for run, name in ((bss_run, 'epoch_4.pth'), (ema_run, 'epoch_3.pth')):
        checkpoint = run.checkpoint(name)
        assert list(checkpoint['state_dict']) == list(plain)
        groups = checkpoint['optimizer']['param_groups']
        assert sum(len(group['params']) for group in groups) == len(
            list(plain_student(configs.student).parameters())
        )


def test_the_ema_checkpoint_holds_averaged_and_current_weights(ema_run):
    checkpoint = ema_run.checkpoint('epoch_3.pth')
    averaged, current = checkpoint['state_dict'], checkpoint['ema_state_dict']
    assert current['steps'] == 18
    assert not any('teacher' in key for key in current)
    assert not torch.equal(averaged['head.fc.weight'], current['module.head.fc.weight'])


# ---------------------------------------------------------------- resume


def test_a_run_resumed_after_the_attacks_equals_the_uninterrupted_one_bit_for_bit(
    bss_run, resumed_run
):
    assert sorted(resumed_run.accuracy) == [3, 4]
    whole, resumed = (run.checkpoint('epoch_4.pth') for run in (bss_run, resumed_run))
    for key, value in whole['state_dict'].items():
        assert torch.equal(resumed['state_dict'][key], value), key
    momentum = [checkpoint['optimizer']['state'] for checkpoint in (whole, resumed)]
    for index, state in momentum[0].items():
        assert torch.equal(momentum[1][index]['momentum_buffer'], state['momentum_buffer'])
    assert resumed_run.accuracy[4] == bss_run.accuracy[4]


def test_a_resumed_run_goes_on_with_epochs_learning_rate_and_weights(bss_run, resumed_run):
    for name in ('epoch', 'step', 'lr', 'weight_kd', 'weight_bss'):
        whole = [record[name] for record in bss_run.train[6:]]
        assert [record[name] for record in resumed_run.train] == whole


# ---------------------------------------------------------------- other ways to run it


def test_on_a_cpu_amp_is_bfloat16(amp_run, bss_run):
    assert amp_run.config().optim_wrapper.type == 'mmbss.CPUAmpOptimWrapper'
    first, reference = amp_run.train[0], bss_run.train[0]
    # the same seed and batches: other numbers, but near them
    assert first['loss_cls'] != reference['loss_cls']
    assert first['loss_cls'] == pytest.approx(reference['loss_cls'], rel=0.2)
    state = amp_run.checkpoint('epoch_1.pth')['state_dict']
    assert {v.dtype for v in state.values()} == {torch.float32, torch.int64}
    assert all(value.isfinite().all() for value in state.values())


def test_accumulation_over_two_batches_is_one_batch_of_double_size(
    make_runner, make_teacher, tmp_path
):
    model = dict(
        type='ImageClassifier',
        backbone=dict(type='mmbss.MLP', in_features=64, hidden=(16,)),
        head=dict(type='LinearClsHead', num_classes=10, in_channels=16),
    )
    distiller = dict(
        model,
        type='mmbss.Distiller',
        teacher=make_teacher(model),
        losses=dict(loss_kd=dict(type='mmbss.KDLoss')),
    )
    weights = []
    for batch_size, counts in ((64, 1), (32, 2)):
        runner = make_runner(distiller, epochs=1)
        runner._train_dataloader['batch_size'] = batch_size
        runner.optim_wrapper['accumulative_counts'] = counts
        runner.train()
        assert runner.iter == 192 // batch_size
        weights.append(runner.model.backbone.layers[0].weight)
    torch.testing.assert_close(*weights, rtol=1e-4, atol=1e-6)


def test_bss_trains_with_accumulation(amp_run):
    assert amp_run.config().optim_wrapper.accumulative_counts == 2
    assert amp_run.train[-1]['iter'] == 6
    assert 'loss_bss' in amp_run.train[-1]


def test_mmpretrains_own_tool_gives_the_same_run(mmpretrain_run, bss_run):
    theirs, ours = (
        run.checkpoint('epoch_4.pth')['state_dict'] for run in (mmpretrain_run, bss_run)
    )
    assert all(torch.equal(theirs[key], ours[key]) for key in ours)
    assert mmpretrain_run.accuracy == bss_run.accuracy


def test_two_processes_share_the_batches(two_process_run):
    # three iterations an epoch instead of six; every second is logged
    assert [(r['epoch'], r['iter']) for r in two_process_run.train] == [(1, 2), (2, 5)]
    assert sorted(two_process_run.accuracy) == [1, 2]
    assert 'loss_bss' in two_process_run.train[-1]
    assert two_process_run.config().model_wrapper_cfg.type == 'MMDistributedDataParallel'


def test_two_processes_save_one_plain_checkpoint(two_process_run):
    state = two_process_run.checkpoint('epoch_2.pth')['state_dict']
    assert not any(key.startswith('module.') or 'teacher' in key for key in state)


def test_two_processes_train_the_weights_of_a_loss_while_it_has_a_weight(two_process_run):
    first, second = two_process_run.train
    assert (first['weight_hint'], second['weight_hint']) == (1.0, 0.0)
    assert first['loss_hint'] > 0
    checkpoint = two_process_run.checkpoint('epoch_2.pth')
    assert set(checkpoint['distillation_losses']['loss_hint']) == {
        'regressor.weight',
        'regressor.bias',
    }
    assert not any('hint' in key for key in checkpoint['state_dict'])


# ---------------------------------------------------------------- flags


@pytest.fixture
def merged(load_tool, configs, monkeypatch):
    """The config of tools/train.py after its flags."""
    tool = load_tool('train')

    def merged(*flags):
        monkeypatch.setattr('sys.argv', ['train.py', str(configs.bss), *flags])
        args = tool.parse_args()
        config = Config.fromfile(args.config)
        tool.merge_args(config, args)
        return config

    return merged


def test_flags_change_the_config(merged):
    config = merged(
        '--no-validate', '--resume', 'x.pth', '--no-persistent-workers', '--no-pin-memory'
    )
    assert config.val_cfg is config.val_dataloader is config.val_evaluator is None
    assert (config.resume, config.load_from) == (True, 'x.pth')
    assert config.train_dataloader.persistent_workers is False
    assert merged('--resume').resume == 'auto'


@pytest.mark.parametrize(
    ('own', 'kinds'),
    [
        (None, ['AimVisBackend', 'MLflowVisBackend']),
        ([dict(type='mmengine.AimVisBackend')], ['mmengine.AimVisBackend', 'MLflowVisBackend']),
    ],
)
def test_a_tracker_is_added_once(own, kinds, load_tool, monkeypatch):
    tool = load_tool('train')
    config = Config(dict(visualizer=dict(type='UniversalVisualizer', vis_backends=own)))
    monkeypatch.setattr('sys.argv', ['train.py', 'x.py', '--track', 'aim', 'mlflow', 'aim'])
    monkeypatch.setattr(tool, 'find_spec', lambda name: None)
    with pytest.raises(ConfigError, match=r'^--track aim: .*pip install aim'):
        tool.merge_args(config, tool.parse_args())
    monkeypatch.setattr(tool, 'find_spec', lambda name: name)
    tool.merge_args(config, tool.parse_args())
    assert [backend.type for backend in config.visualizer.vis_backends] == kinds


@pytest.mark.parametrize(
    ('flags', 'rank', 'is_saved', 'said'),
    [
        ((), None, True, r'last checkpoint with: python train\.py \S+bss\.py --resume$'),
        (('--resume',), None, True, r'with: python train\.py \S+bss\.py --resume$'),
        (('--resume', 'a.pth'), None, True, r'with: python train\.py \S+bss\.py --resume$'),
        (('--launcher', 'pytorch'), '0', True, 'with the same command and --resume$'),
        (('--launcher', 'pytorch'), '1', True, '^None$'),
        ((), None, False, r'begin again with: python train\.py \S+bss\.py$'),
        (('--resume',), None, False, r'begin again with: python train\.py \S+bss\.py$'),
        (('--resume', 'a.pth'), None, False, r'begin again with: .*bss\.py --resume a\.pth$'),
        (('--launcher', 'pytorch'), '0', False, 'with the same command without --resume$'),
    ],
)
def test_how_to_go_on_is_said(
    flags, rank, is_saved, said, load_tool, configs, monkeypatch, tmp_path
):
    tool = load_tool('train')
    monkeypatch.setattr('sys.argv', ['train.py', str(configs.bss), *flags])
    if rank is not None:
        monkeypatch.setenv('RANK', rank)
    args = tool.parse_args()
    if is_saved:
        args.merged = Config(dict(work_dir=str(tmp_path)))
        (tmp_path / 'epoch_1.pth').touch()
    assert re.search(said, str(tool.how_to_go_on(args)))


def test_load_from_holds_where_there_is_nothing_to_resume(merged, tmp_path):
    from mmbss.engine.resume import choose_checkpoint

    flags = ('--work-dir', str(tmp_path), '--cfg-options', 'load_from=right.pth')
    config = merged('--resume', *flags)
    choose_checkpoint(config)
    assert (config.resume, config.load_from) == (False, 'right.pth')


def test_persistent_workers_can_be_switched_off(merged):
    flags = ['--cfg-options', 'train_dataloader.num_workers=2']
    assert merged(*flags).train_dataloader.persistent_workers is True
    assert merged('--no-persistent-workers', *flags).train_dataloader.persistent_workers is False


def test_amp_on_a_gpu_is_mmengines(merged, monkeypatch):
    monkeypatch.setattr(torch.cuda, 'is_available', lambda: True)
    wrapper = merged('--amp').optim_wrapper
    assert (wrapper.type, wrapper.loss_scale) == ('AmpOptimWrapper', 'dynamic')


def test_learning_rate_is_scaled_with_the_batch_on_request(merged):
    assert 'enable' not in merged().auto_scale_lr
    assert merged('--auto-scale-lr').auto_scale_lr.enable is True


# ---------------------------------------------------------------- bad input


@pytest.mark.parametrize(
    ('option', 'message'),
    [
        ('model.head.type=MultiLabelLinearClsHead', 'MultiLabelLinearClsHead'),
        ('load_from=none.pth', r'none\.pth'),
    ],
)
def test_a_bad_setting_ends_with_one_clear_message(call_tool, configs, tmp_path, option, message):
    with pytest.raises(SystemExit, match=f'^error: .*{message}') as error:
        call_tool('train', configs.bss, '--work-dir', tmp_path, '--cfg-options', *option.split())
    assert '\n' not in str(error.value)
    assert not list(tmp_path.glob('*.pth'))


def test_a_teacher_of_another_shape_is_named_before_any_work(call_tool, configs, tmp_path, bss_run):
    checkpoint = bss_run.folder / 'epoch_4.pth'
    with pytest.raises(
        SystemExit, match=r'^error: model: teacher\.checkpoint: .* does not fit'
    ) as error:
        call_tool(
            'train',
            configs.bss,
            '--work-dir',
            tmp_path,
            '--cfg-options',
            f'model.teacher.checkpoint={checkpoint}',
        )
    assert 'backbone.conv1.weight' in str(error.value)


def test_a_missing_config_file_ends_with_one_clear_message(call_tool, tmp_path):
    with pytest.raises(SystemExit, match=r'^error: .*no_such\.py'):
        call_tool('train', tmp_path / 'no_such.py', '--work-dir', tmp_path)


def test_a_missing_checkpoint_to_resume_ends_with_one_clear_message(call_tool, configs, tmp_path):
    with pytest.raises(SystemExit, match=r'^error: .*none\.pth'):
        call_tool('train', configs.bss, '--work-dir', tmp_path, '--resume', 'none.pth')


def test_an_array_of_images_that_are_not_finite_is_refused(call_tool, configs, tmp_path):
    images = np.zeros((4, 8, 8), np.float32)
    images[2, 3, 3] = np.nan
    np.savez(tmp_path / 'bad.npz', images=images, labels=np.arange(4))
    with pytest.raises(SystemExit, match=r'^error: .*1 of 4 images hold NaN or infinity'):
        call_tool(
            'train',
            configs.bss,
            '--work-dir',
            tmp_path,
            '--cfg-options',
            'train_dataloader.dataset._delete_=True',
            'train_dataloader.dataset.type=mmbss.ArrayDataset',
            f'train_dataloader.dataset.data_file={tmp_path / "bad.npz"}',
        )


def test_the_program_prints_one_line_and_fails(configs, python, root, tmp_path):
    completed = python(
        root / 'tools' / 'train.py',
        configs.bss,
        '--work-dir',
        tmp_path,
        '--cfg-options',
        'model.teacher.checkpoint=none.pth',
        check=False,
    )
    assert completed.returncode == 1
    lines = [line for line in completed.stderr.splitlines() if line.startswith('error: ')]
    assert len(lines) == 1
    assert lines[0].startswith("error: model.teacher.checkpoint='none.pth'")
    assert completed.stderr.strip().endswith(lines[0])
    assert 'Traceback' not in completed.stderr
    assert 'not installed' not in completed.stdout + completed.stderr
