import json

import pytest

from mmbss.engine.errors import ConfigError
from mmbss.studies.experiments import find_run_folders, read_experiments


def test_a_comparison_keeps_the_order_of_its_table(make_run, tmp_path):
    teacher = make_run(tmp_path / 'teacher')
    work_dir = tmp_path / 'compare'
    for name in ('a', 'b', 'c'):
        for seed in (0, 10, 2):
            make_run(work_dir / name / f'seed_{seed}', seed=seed)
    assert [each.name for each in read_experiments(work_dir)] == ['a', 'b', 'c'], 'still under way'
    arms = dict(teacher=str(teacher), b='elsewhere/b', a='elsewhere/a')
    (work_dir / 'study.json').write_text(json.dumps(dict(question='', arms=arms)))
    experiments = read_experiments(work_dir)
    assert [each.name for each in experiments] == ['teacher', 'b', 'a', 'c'], 'c of an earlier call'
    assert [run.seed for run in experiments[1].runs] == [0, 2, 10]
    collected = experiments[1].collect(lambda run: run.val_series('accuracy/top1'))
    assert collected[3] == [53.0, 57.0, 73.0]


def test_a_run_is_called_after_its_config_and_not_after_its_folder(make_run, tmp_path):
    def name(folder, config):
        make_run(folder)
        (folder / 'config.py').rename(folder / config)

    name(tmp_path / 'a', 'kd.py')
    name(tmp_path / 'b', '20260101_000000.py')
    assert [each.name for each in read_experiments(tmp_path)] == ['kd', 'b']
    name(tmp_path / 'c', 'kd.py')
    assert [each.name for each in read_experiments(tmp_path)] == ['a', 'b', 'c'], 'two of kd.py'


@pytest.mark.parametrize('content', ['', '[]', '{}', '{"question": "a"}', '{"arms": {"a": 3}}'])
def test_a_damaged_note_about_a_study_is_named(make_run, tmp_path, content):
    make_run(tmp_path / 'a' / 'seed_0')
    (tmp_path / 'study.json').write_text(content)
    with pytest.raises(ConfigError, match=r'study\.json is damaged'):
        find_run_folders(tmp_path)


def test_a_folder_without_a_run_is_refused(tmp_path):
    with pytest.raises(FileNotFoundError, match='no folder'):
        find_run_folders(tmp_path / 'gone')
    with pytest.raises(FileNotFoundError, match='holds no run: give the work dir'):
        find_run_folders(tmp_path)
