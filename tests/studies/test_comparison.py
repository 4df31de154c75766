import json
from pathlib import Path

import pytest

from mmbss.engine.default_hooks import SAFETY_HOOKS
from mmbss.report.evaluation import digest_of_weights
from mmbss.report.facts import facts
from mmbss.report.report import measured_elsewhere
from mmbss.studies.comparison import read_comparison, short_names
from mmbss.studies.provenance import repeat_commands


@pytest.fixture
def make_seeds(make_run, tmp_path):
    """Write two seeds of one experiment, each with settings of its own."""

    def make(*settings):
        for seed, own in enumerate(settings):
            make_run(tmp_path / 'all' / 'kd' / f'seed_{seed}', seed=seed, **own)
        return tmp_path / 'all'

    return make


@pytest.mark.parametrize(
    ('settings', 'has_own', 'mixed'),
    [
        ((dict(lr=0.1), dict(lr=0.1)), False, []),
        ((dict(subset=dict(seed=0)), dict(subset=dict(seed=1))), True, []),
        ((dict(lr=0.1), dict(lr=0.2)), True, ['lr']),
        # older than a hook that is added today
        (({}, dict(default_hooks=dict([*SAFETY_HOOKS.items()][:1]))), False, []),
    ],
)
def test_runs_of_other_settings_are_not_averaged_without_a_word(
    make_seeds, settings, has_own, mixed
):
    folder = make_seeds(*settings)
    comparison = read_comparison(folder)
    assert comparison.is_uneven == has_own
    said = [remark.partition(': ')[2] for remark in comparison.remarks]
    assert said == [f'{folder}/kd/seed_1 ({name}).' for name in mixed]
    (command,) = repeat_commands(folder, comparison.students, [], comparison.is_uneven)
    assert command.count('train.py') == 2 * has_own


def test_a_run_that_is_not_trained_to_its_end_is_named(make_seeds):
    folder = make_seeds(*[dict(train_cfg=dict(max_epochs=4))] * 2)
    (folder / 'kd' / 'seed_0' / 'run.json').write_text('{"seconds": 3.0}')  # stopped early
    (remark,) = read_comparison(folder).remarks
    assert remark.endswith(f': {folder}/kd/seed_1 (epoch 3 of 4).')


def test_devices_and_commits_are_named_where_they_are_known(make_seeds):
    folder = make_seeds({}, {})
    loader = dict(dataset=dict(type='mmbss.Digits'))
    comparison = read_comparison(folder)
    comparison.students[0].runs[0].config.train_dataloader = loader
    assert 'devices' not in facts(comparison, None, 'accuracy/top1')
    (folder / 'kd' / 'seed_1' / 'run.json').write_text(json.dumps(dict(device='GPU', commit='a')))
    comparison = read_comparison(folder)
    comparison.students[0].runs[0].config.train_dataloader = loader
    found = facts(comparison, None, 'accuracy/top1')
    assert (found['devices'], found['commits']) == (
        'not known (1), GPU (1)',
        'not known (1), a (1)',
    )


def test_metrics_of_other_checkpoints_are_noted(make_seeds, tmp_path):
    folder = make_seeds({})
    (folder / 'kd' / 'seed_0' / 'epoch_3.pth').touch()
    comparison = read_comparison(folder)
    networks = [dict(name='teacher'), dict(name='mine')]
    own = dict(name='own', checkpoint=str(folder / 'kd' / 'seed_0' / 'epoch_3.pth'))
    assert measured_elsewhere(dict(networks=[*networks, own]), comparison) == []
    other = dict(name='other', checkpoint='elsewhere.pth')
    (note,) = measured_elsewhere(dict(networks=[*networks, own, other]), comparison)
    assert note.endswith(': other.')
    trained = dict(own, digest=digest_of_weights(own))
    assert measured_elsewhere(dict(networks=[trained]), comparison) == []
    Path(own['checkpoint']).write_text('trained anew')
    (note,) = measured_elsewhere(dict(networks=[trained]), comparison)
    assert note.endswith(': own.')
    folder = folder.rename(tmp_path / 'moved')
    assert measured_elsewhere(dict(networks=[own]), read_comparison(folder)) == []


def test_metrics_of_another_teacher_or_of_fewer_runs_are_noted(make_seeds):
    teacher = dict(config='t.py', checkpoint='t/epoch_1.pth')
    folder = make_seeds(*[dict(model=dict(type='mmbss.Distiller', teacher=teacher))] * 2)
    for seed in (0, 1):
        (folder / 'kd' / f'seed_{seed}' / 'epoch_3.pth').touch()
    comparison = read_comparison(folder)
    students = [dict(own, name=name) for name, own in comparison.student_networks.items()]
    own = dict(teacher, name='teacher')
    assert measured_elsewhere(dict(networks=[own, *students]), comparison) == []
    other = dict(name='teacher', checkpoint='other/epoch_9.pth')
    strange, missing = measured_elsewhere(dict(networks=[other, students[0]]), comparison)
    assert strange.endswith(': teacher.')
    assert missing == f'Not measured: {students[1]["name"]}.'


def test_names_are_shortened_neither_to_nothing_nor_to_the_same():
    assert short_names(['a_b', 'b']) == ['a', 'b']
    assert short_names(['a_b', 'a']) == ['a_b', 'a']
    assert short_names(['a_c', 'a_d', 'c']) == ['a_c', 'a_d', 'c']
    assert short_names(['a_b', 'a_b']) == ['a', 'a']
    assert short_names([]) == []
