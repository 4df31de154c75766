import pickle

import mmengine
import pytest
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


def test_a_missing_checkpoint_ends_with_one_clear_message(call_tool, orphan, tmp_path):
    with pytest.raises(SystemExit, match=r'^error: .*none\.pth'):
        call_tool('test', orphan, 'none.pth', '--work-dir', tmp_path)
