import shutil

import pytest
from mmengine.config import Config

from mmbss.engine.errors import ConfigError
from mmbss.report.fractions import accuracies_by_fraction, training_fraction


@pytest.fixture
def comparisons(bss_run, tmp_path):
    """Two comparisons of one real run, the second of which says it had a tenth of the data."""
    folders = []
    for name, fraction in (('all', None), ('tenth', 0.1)):
        folder = tmp_path / name / 'bss' / 'seed_0'
        shutil.copytree(bss_run.folder, folder)
        for path in folder.glob('*/vis_data/config.py') if fraction else ():
            config = Config.fromfile(path)
            config.train_dataloader.dataset.fraction = fraction
            config.dump(path)
        folders.append(folder.parents[1])
    return folders


def test_runs_are_sorted_by_their_share_of_the_training_set(comparisons, bss_run):
    last = bss_run.accuracy[max(bss_run.accuracy)]
    assert accuracies_by_fraction(comparisons, 'accuracy/top1') == {
        'bss': {1.0: [last], 0.1: [last]}
    }


def test_a_picture_is_written(call_tool, comparisons, tmp_path):
    out = tmp_path / 'fractions.svg'
    call_tool('plot_fractions', *comparisons, '--out', out)
    assert 'training samples used (%)' in out.read_text()


def test_shares_of_wrappers_multiply():
    inner = dict(type='StratifiedSubset', fraction=0.5, dataset=dict(type='Digits'))
    assert training_fraction(dict(type='ClassSubset', dataset=inner)) == 0.5
    assert training_fraction(dict(inner, dataset=inner)) == 0.25
    assert training_fraction(dict(type='Digits')) == 1.0


def test_several_datasets_are_refused(comparisons):
    for path in comparisons[1].glob('*/*/*/vis_data/config.py'):
        config = Config.fromfile(path)
        parts = dict(type='ConcatDataset', datasets=[config.train_dataloader.dataset] * 2)
        config.train_dataloader.dataset = dict(type='RepeatDataset', times=1, dataset=parts)
        config.dump(path)
    with pytest.raises(ConfigError, match='made of several'):
        accuracies_by_fraction(comparisons, 'accuracy/top1')


def test_shares_of_different_parts_are_refused(comparisons):
    for path in comparisons[1].glob('*/*/*/vis_data/config.py'):
        config = Config.fromfile(path)
        config.train_dataloader.dataset.indices = 100
        config.dump(path)
    with pytest.raises(ConfigError, match=r'different parts .*the first 100, the first 192\)'):
        accuracies_by_fraction(comparisons, 'accuracy/top1')


def test_one_share_alone_is_refused(call_tool, comparisons, tmp_path):
    with pytest.raises(SystemExit, match=r'^error: all runs were trained on the same share'):
        call_tool('plot_fractions', comparisons[0], '--out', tmp_path / 'x.svg')
    with pytest.raises(SystemExit, match=r'^error: .*holds no run'):
        call_tool('plot_fractions', tmp_path)
