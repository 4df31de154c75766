import json
import pickle

import mmengine
import pytest
import torch
from mmengine.config import Config


@pytest.fixture(scope='session')
def orphan(configs, write_config):
    """The config of the BSS run, whose teacher is not at hand any more."""
    config = Config.fromfile(configs.bss)
    config.model.teacher = dict(config='gone.py', checkpoint='gone.pth')
    return write_config(configs.folder / 'orphan.py', config.to_dict())


def test_a_distillers_config_is_tested_without_its_teacher(orphan, bss_run, forked, root, tmp_path):
    forked(
        root / 'tools' / 'test.py',
        orphan,
        bss_run.folder / 'epoch_4.pth',
        *('--work-dir', tmp_path, '--out', tmp_path / 'metrics.json', '--out-item', 'metrics'),
    )
    metrics = mmengine.load(tmp_path / 'metrics.json')
    assert metrics['accuracy/top1'] == pytest.approx(bss_run.accuracy[4], abs=1e-3)


def test_predictions_are_written(call_tool, orphan, bss_run, tmp_path):
    out = tmp_path / 'predictions.pkl'
    checkpoint = bss_run.folder / 'epoch_4.pth'
    call_tool('test', orphan, checkpoint, '--work-dir', tmp_path, '--out', out)
    predictions = pickle.loads(out.read_bytes())
    assert len(predictions) == 540
    right = sum(int(p['pred_label'] == p['gt_label']) for p in predictions)
    assert 100 * right / 540 == pytest.approx(bss_run.accuracy[4], abs=1e-3)


def test_options_and_mixed_precision(call_tool, orphan, bss_run, tmp_path):
    out = tmp_path / 'metrics.json'
    call_tool(
        *('test', orphan, bss_run.folder / 'epoch_4.pth', '--amp', '--work-dir', tmp_path),
        *('--out', out, '--out-item', 'metrics'),
        *('--cfg-options', 'test_dataloader.dataset.indices=100'),
    )
    accuracy = mmengine.load(out)['accuracy/top1']
    assert accuracy == int(accuracy), 'a percentage of a hundred images'
    assert accuracy > 10


def test_pictures_of_predictions_are_written(call_tool, orphan, bss_run, tmp_path):
    call_tool(
        *('test', orphan, bss_run.folder / 'epoch_4.pth', '--work-dir', tmp_path),
        *('--show-dir', tmp_path / 'pictures', '--interval', '4'),
        *('--cfg-options', 'test_dataloader.dataset.indices=8'),
    )
    assert len(list((tmp_path / 'pictures').glob('**/*.png'))) == 2


def test_scores_are_averaged_over_flipped_images(
    call_tool, orphan, bss_run, tmp_path, write_config
):
    def scores(config, *flags):
        out = tmp_path / 'predictions.pkl'
        checkpoint = bss_run.folder / 'epoch_4.pth'
        options = ['--cfg-options', 'test_dataloader.dataset.indices=20']
        call_tool(
            'test', config, checkpoint, '--work-dir', tmp_path, '--out', out, *flags, *options
        )
        return torch.stack([each['pred_score'] for each in pickle.loads(out.read_bytes())])

    config = Config.fromfile(orphan)
    config.test_dataloader.dataset.pipeline = [
        dict(type='RandomFlip', prob=1.0),
        dict(type='PackInputs'),
    ]
    flipped = write_config(tmp_path / 'flipped.py', config.to_dict())
    torch.testing.assert_close(
        scores(orphan, '--tta'), (scores(orphan) + scores(flipped)) / 2, rtol=1e-4, atol=1e-5
    )


def test_augmentation_reaches_the_datasets_within_others(orphan, load_tool):
    tool, config = load_tool('test'), Config.fromfile(orphan)
    inner = config.test_dataloader.dataset.to_dict()
    parts = [inner, dict(type='RepeatDataset', times=2, dataset=inner)]
    outer = Config(dict(type='ConcatDataset', datasets=parts))
    tool.add_augmentation(config, outer)
    assert 'pipeline' not in outer
    for each in (outer.datasets[0], outer.datasets[1].dataset):
        assert each.pipeline[-1].type == 'TestTimeAug'


@pytest.mark.parametrize('missing', ['default_hooks', 'visualizer'])
def test_what_draws_pictures_is_added(missing, orphan, load_tool, tmp_path, monkeypatch):
    tool = load_tool('test')
    monkeypatch.setattr('sys.argv', ['test.py', str(orphan), 'x.pth', '--show-dir', str(tmp_path)])
    args = tool.parse_args()
    config = Config.fromfile(orphan)
    config[missing] = None
    tool.merge_args(config, args)
    assert config.default_hooks.visualization.enable
    assert config.default_hooks.visualization.out_dir == str(tmp_path)
    assert config.visualizer.type == 'UniversalVisualizer'


@pytest.mark.parametrize(
    ('flags', 'message'),
    [
        (['--show'], 'DISPLAY is not set'),
        (['--tta', '--show-dir', 'x'], 'leave out'),
        (['--interval', '0'], 'at least 1'),
        (['--out-item', 'metrics'], 'give the file with --out'),
        (['--out', 'predictions.txt'], 'ends in .pkl'),
        (['--out', f'{__file__}/x.pkl'], r'test_test\.py is no folder to write in'),
        (['--out', 'predictions.json'], 'ends in .pkl'),
        (['--out', 'metrics.txt', '--out-item', 'metrics'], 'ends in .json'),
        (['--show-dir', 'x', '--cfg-options', 'a=1'], "UniversalVisualizer'"),
    ],
)
def test_flags_that_would_fail_late_are_refused(
    flags, message, call_tool, orphan, tmp_path, monkeypatch, write_config
):
    for name in ('DISPLAY', 'WAYLAND_DISPLAY'):
        monkeypatch.delenv(name, raising=False)
    config = Config.fromfile(orphan)
    config.visualizer = dict(type='Visualizer')
    path = write_config(tmp_path / 'config.py', config.to_dict())
    with pytest.raises(SystemExit, match=message):
        call_tool('test', path, 'x.pth', '--work-dir', tmp_path, *flags)


def test_data_of_other_classes_than_the_weights_are_refused(
    call_tool, orphan, bss_run, tmp_path, write_config
):
    config = Config.fromfile(orphan)
    config.test_dataloader.dataset.metainfo = dict(classes=tuple('9876543210'))
    path = write_config(tmp_path / 'config.py', config.to_dict())
    checkpoint = bss_run.folder / 'epoch_4.pth'
    with pytest.raises(SystemExit, match=f'test_dataloader.dataset: .*another order.*{checkpoint}'):
        call_tool('test', path, checkpoint, '--work-dir', tmp_path)


@pytest.mark.parametrize('flags', [[], ['--tta']])
def test_another_normalisation_than_that_of_the_training_is_refused(
    flags, call_tool, orphan, bss_run, tmp_path
):
    checkpoint = bss_run.folder / 'epoch_4.pth'
    with pytest.raises(
        SystemExit, match=rf'mean=\[0\], but {checkpoint} was trained with mean=\[77.9\]'
    ):
        call_tool(
            *('test', orphan, checkpoint, '--work-dir', tmp_path, *flags),
            *('--cfg-options', 'data_preprocessor.mean=[0.0]'),
        )


def test_hooks_that_a_config_leaves_out_are_left_out(
    call_tool, orphan, bss_run, tmp_path, write_config
):
    config = Config.fromfile(orphan)
    config.default_hooks.update(step_seed=None, model_metrics=None)
    path = write_config(tmp_path / 'config.py', config.to_dict())
    out = ['--out', tmp_path / 'metrics.json', '--out-item', 'metrics']
    call_tool('test', path, bss_run.folder / 'epoch_4.pth', '--work-dir', tmp_path, *out)
    assert 'accuracy/top1' in json.loads((tmp_path / 'metrics.json').read_text())


def test_a_confusion_matrix_is_written_too(call_tool, orphan, bss_run, tmp_path, write_config):
    config = Config.fromfile(orphan)
    config.test_evaluator = dict(type='ConfusionMatrix')
    path, out = write_config(tmp_path / 'config.py', config.to_dict()), tmp_path / 'metrics.json'
    checkpoint = bss_run.folder / 'epoch_4.pth'
    flags = ['--work-dir', tmp_path, '--out', out, '--out-item', 'metrics']
    call_tool('test', path, checkpoint, *flags)
    (matrix,) = json.loads(out.read_text()).values()
    assert len(matrix) == len(matrix[0]) == 10


def test_weights_that_are_not_finite_are_refused(call_tool, orphan, bss_run, tmp_path):
    content = torch.load(bss_run.folder / 'epoch_4.pth')
    content['state_dict']['head.fc.bias'][2] = torch.inf
    torch.save(content, tmp_path / 'broken.pth')
    with pytest.raises(SystemExit, match=r'broken\.pth holds NaN or infinity in head\.fc\.bias'):
        call_tool('test', orphan, tmp_path / 'broken.pth', '--work-dir', tmp_path)


def test_flipped_images_are_no_question_for_metrics_that_ask_the_model(
    call_tool, orphan, bss_run, tmp_path, write_config, capfd
):
    config = Config.fromfile(orphan)
    config.test_evaluator = [config.test_evaluator, dict(type='mmbss.CorruptionAccuracy')]
    config.default_hooks.model_metrics = dict(type='mmbss.ModelMetricHook')
    path = write_config(tmp_path / 'config.py', config.to_dict())
    with pytest.raises(SystemExit, match='leave out --tta'):
        call_tool('test', path, bss_run.folder / 'epoch_4.pth', '--work-dir', tmp_path, '--tta')
    said = capfd.readouterr()
    assert 'weights of the AverageClsScoreTTA' not in said.out + said.err


def test_a_missing_checkpoint_ends_with_one_clear_message(call_tool, orphan, tmp_path):
    with pytest.raises(SystemExit, match=r'^error: .*none\.pth'):
        call_tool('test', orphan, 'none.pth', '--work-dir', tmp_path)
