import json
import statistics
from dataclasses import replace

import pytest

from mmbss.studies.accuracy_table import Row, accuracy_markdown, accuracy_rows
from mmbss.studies.experiments import by_experiment
from mmbss.studies.run_logs import read_run

METRIC = 'accuracy/top1'


@pytest.fixture
def runs(make_run, resnet_config, tmp_path):
    """Three runs of one config, which differ in the seed."""
    folders = [tmp_path / 'kd' / f'seed_{seed}' for seed in range(3)]
    for seed, folder in enumerate(folders):
        make_run(folder, seed=seed, model=resnet_config())
        (folder / 'run.json').write_text(json.dumps(dict(seconds=6.0 * seed)))
    return [read_run(folder) for folder in folders]


def test_rows_are_means_and_deviations_over_the_seeds(runs, tmp_path):
    (row,) = accuracy_rows(by_experiment(runs), METRIC)
    own = row.summary()
    assert (own['name'], own['folder']) == ('kd', str(tmp_path / 'kd'))
    assert (own['seeds'], own['values']) == ([0, 1, 2], [53.0, 55.0, 57.0])
    assert (own['mean'], own['epochs']) == (55.0, [3, 3, 3])
    assert own['standard_deviation'] == statistics.stdev(row.values) == 2.0
    assert own['ms_per_iteration'] == pytest.approx(20.0)
    assert own['seconds'] == 6.0
    (line,) = accuracy_markdown([row], METRIC).splitlines()[2:]
    assert '| 55.00 ± 2.00 | 0: 53.00, 1: 55.00, 2: 57.00 | 20.0 | 6 |' in line


def test_one_run_has_no_deviation_and_its_own_folder(runs):
    (row,) = accuracy_rows(by_experiment(runs[:1]), METRIC)
    assert row.summary()['standard_deviation'] is None
    assert row.summary()['folder'] == str(runs[0].folder)
    assert row.cells['value'] == '53.00'


def test_times_of_several_devices_are_no_one_time(runs):
    (row,) = accuracy_rows(by_experiment(runs), METRIC)
    on = [replace(each, device=name) for each, name in zip(row.results, 'AAB', strict=True)]
    assert Row('kd', on[:2]).summary()['seconds'] == 3.0
    moved = [replace(each, device='A, then B') for each in row.results]
    assert Row('kd', moved).summary()['seconds'] is None
    mixed = Row('kd', on)
    assert mixed.summary()['mean'] == 55.0
    assert (mixed.cells['time'], mixed.cells['seconds']) == ('', '')


def test_a_report_knows_the_devices_of_its_runs(runs):
    for run, name in zip(runs, 'AAB', strict=True):
        (run.folder / 'run.json').write_text(json.dumps(dict(seconds=1.0, device=name)))
    runs = [read_run(run.folder) for run in runs]
    (row,) = accuracy_rows(by_experiment(runs), METRIC)
    assert row.cells['time'] == ''


def test_what_was_not_logged_is_left_blank(make_run, resnet_config, tmp_path):
    folder = make_run(tmp_path / 'kd', model=resnet_config())
    for log in folder.glob('*/vis_data/scalars.json'):
        log.write_text(log.read_text().replace('"time"', '"other"'))
    (row,) = accuracy_rows(by_experiment([read_run(folder)]), METRIC)
    assert row.summary()['ms_per_iteration'] is row.summary()['seconds'] is None
    assert (row.cells['time'], row.cells['seconds']) == ('', '')
