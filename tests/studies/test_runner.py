"""Studies whose trainings and tests are played, so that what is left of them is cheap to see."""

import json
import shutil
from dataclasses import replace
from pathlib import Path

import pytest
from mmengine.config import Config
from torch import nn

from mmbss.engine.errors import ConfigError
from mmbss.studies.experiments import read_contents
from mmbss.studies.files import keep, read_results
from mmbss.studies.runner import StudyRunner
from mmbss.studies.runs import Run
from mmbss.studies.study import Arm, Study

#: Accuracies of (arm, seed); b is better than a by 1, 2 and 3.
ACCURACY = {'a': [50.0, 52.0, 51.0], 'b': [51.0, 54.0, 54.0], 'c': [50.5, 52.0, 50.8]}
MOMENTUM = 'optim_wrapper.optimizer.momentum'


@pytest.fixture
def play(monkeypatch):
    """Play trainings and tests; gives what was played, and takes runs that are to fail."""
    played, failing = [], set()

    def call(run, tool, flags, log, threads):
        played.append((tool.stem, run.arm, run.seed))
        if (run.arm, run.seed) in failing:
            raise ConfigError(f'{run}: out of memory')
        if tool.stem == 'test':
            path = Path(flags[flags.index('--out') + 1])
            path.write_text(json.dumps({'agreement/top1': ACCURACY[run.arm][run.seed] + 20}))
            return
        logs = run.folder / '20260101_000000' / 'vis_data'
        logs.mkdir(parents=True, exist_ok=True)
        run.merged.dump(str(logs / 'config.py'))
        records = [dict(lr=0.1, time=0.02, epoch=1, step=1)]
        records += [{'accuracy/top1': 99.0, 'step': 1}]
        records += [{'accuracy/top1': ACCURACY[run.arm][run.seed], 'step': 2}]
        (logs / 'scalars.json').write_text('\n'.join(map(json.dumps, records)))
        (run.folder / 'epoch_2.pth').touch()
        (run.folder / 'last_checkpoint').write_text(f'epoch_{len(played)}.pth')

    monkeypatch.setattr(Run, 'call', call)
    monkeypatch.setattr('mmbss.studies.runs.git_commit', lambda folder: '1234abc')
    monkeypatch.setattr('mmbss.studies.runs.device_name', lambda: 'CPU')
    # what takes longest, and is none of the matter here
    monkeypatch.setattr('mmbss.studies.files.draw_accuracies', lambda *values: None)
    monkeypatch.setattr('mmbss.studies.files.save_figure', lambda figure, path: None)
    monkeypatch.setattr('mmbss.studies.results.build_classifier', lambda path: nn.Linear(1, 1))
    call.played, call.failing = played, failing
    return call


@pytest.fixture
def study(tmp_path, resnet_config, write_config):
    config = dict(model=resnet_config(), optim_wrapper=dict(optimizer=dict(type='SGD', lr=0.1)))
    path = str(write_config(tmp_path / 'plain.py', config))
    arms = {name: Arm(path, {MOMENTUM: k / 10}) for k, name in enumerate('abc')}
    return Study(
        'played', tmp_path / 'runs', tmp_path / 'results' / 'played', arms, [0, 1, 2],
        contrast=('b', 'a'), evaluators=[dict(type='mmbss.Agreement')],
    )  # fmt: skip


def run_all(study, runs=None, **settings):
    return StudyRunner(study, Path('tools'), **settings)(study.runs() if runs is None else runs)


def read(study):
    return json.loads(study.file('.json').read_text())


def test_results_are_those_of_the_last_epoch_with_commit_config_and_metrics(study, play):
    run_all(study, jobs=2)
    assert len(play.played) == 18
    stored = read(study)
    rows = {row['name']: row for row in stored['arms']}
    assert {name: row['values'] for name, row in rows.items()} == ACCURACY
    assert rows['a']['mean'] == 51.0
    assert rows['a']['standard_deviation'] == 1.0
    (result,) = [each for each in stored['results'] if (each['arm'], each['seed']) == ('b', 2)]
    assert result['metrics'] == {'agreement/top1': 74.0}
    assert (result['config'], result['options']) == (study.arms['b'].config, [f'{MOMENTUM}=0.1'])
    assert (result['commit'], result['device']) == ('1234abc', 'CPU')
    assert result['digest'] == study.run('b', 2).digest


def test_differences_are_paired_by_seed_and_the_contrast_comes_first(study, play):
    table = run_all(study)
    contrast, other = read(study)['differences']
    assert (contrast['first'], contrast['is_contrast'], contrast['test']['mean']) == ('b', True, 2)
    assert contrast['p'] == contrast['test']['p_t'] == pytest.approx(0.0742, abs=1e-4)
    assert (other['first'], other['is_contrast']) == ('c', False)
    assert '| **b - a** | 3 | +2.00 |' in table
    assert 'b - a is not decided' in table
    assert '| agreement/top1 | 71.00 ± 1.00 | 73.00 ± 1.73 | 71.10 ± 0.79 | +2.00 ± 1.00 |' in table
    assert study.file('.md').read_text() == table


def test_what_is_stored_is_not_done_again_even_if_its_folder_is_gone(study, play):
    table = run_all(study)
    play.played.clear()
    shutil.rmtree(study.folder)
    assert run_all(study) == table
    assert not play.played


def test_an_interrupted_study_comes_to_the_results_of_an_uninterrupted_one(study, play, tmp_path):
    run_all(study)
    whole = read(study)
    shutil.rmtree(study.folder)
    study = replace(study, results=tmp_path / 'again')
    play.failing.add(('b', 1))
    with pytest.raises(ConfigError, match='b, seed 1: out of memory'):
        run_all(study, study.runs()[:5])
    assert len(read(study)['results']) == 4
    play.failing.clear()
    run_all(study)
    for part in ('arms', 'differences', 'results'):
        for one, other in zip(
            sorted(whole[part], key=str), sorted(read(study)[part], key=str), strict=True
        ):
            assert one | dict(seconds=0) == other | dict(seconds=0)


def test_a_missing_file_of_the_evaluators_is_named_before_an_arm_is_trained(study, play):
    asked = dict(type='mmbss.Agreement', teacher=dict(config='a.py', checkpoint='gone.pth'))
    study = replace(study, evaluators=[asked])
    with pytest.raises(ConfigError, match=r'evaluators\.0\.teacher\.checkpoint'):
        run_all(study)
    assert not play.played
    run_all(study, trains=False)  # measures nothing


def test_a_metric_that_is_not_finite_is_no_result(study, play, monkeypatch):
    monkeypatch.setitem(ACCURACY, 'a', [float('nan'), 52.0, 51.0])
    with pytest.raises(ConfigError, match=r'a, seed 0.*finite'):
        run_all(study, study.runs()[:2])
    assert [*read_results(study)] == [('b', 0)]


RESULT = dict(arm='a', seed=0, metric='accuracy/top1', value=50.0, epoch=2, parameters=3)
RESULT |= dict(ms_per_iteration=None, seconds=1.0, folder='runs/a')


def test_a_result_of_an_earlier_version_is_read(study):
    study.results.parent.mkdir()
    path = study.file('.json')
    path.write_text(json.dumps(dict(results=[RESULT])))
    assert [*read_results(study)] == [('a', 0)]


@pytest.mark.parametrize(
    'content',
    [
        *('', '[]', '{"results": [', '{"results": 3}', '{"results": {}}', '{}', '3', '"text"'),
        *('{"results": [3]}', '{"results": [null]}', '{"results": [[]]}'),
        *(
            json.dumps(dict(results=[RESULT, {**RESULT, **change}]))
            for change in (
                dict(colour='red'),
                *(dict(value=value) for value in ('50', None, float('nan'), [50.0], True)),
                *(dict(seed='0'), dict(arm=3), dict(metrics=[1]), dict(metrics=dict(a='b'))),
            )
        ),
        json.dumps(dict(results=[RESULT, RESULT | dict(value=99.0)])),
        json.dumps(dict(results=[{k: v for k, v in RESULT.items() if k != 'value'}])),
        b'\xff\xfe\x00',
    ],
)
def test_damaged_results_are_one_line_with_the_file(study, content):
    study.results.parent.mkdir()
    path = study.file('.json')
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    with pytest.raises(ConfigError, match=r'played\.json') as caught:
        read_results(study)
    assert len(caught.value.args) == 1
    assert '\n' not in str(caught.value)


@pytest.mark.parametrize('content', ['', '[]', '3', '{"seconds": "long"}', '{"commit": null}'])
def test_a_damaged_note_about_a_run_is_named(study, content):
    run = study.run('a', 0)
    run.folder.mkdir(parents=True)
    (run.folder / 'run.json').write_text(content)
    with pytest.raises(ConfigError, match=r'run\.json is damaged'):
        run.is_done()


def test_parts_are_merged_and_what_is_missing_is_said(study, play):
    by_name = {(run.arm, run.seed): run for run in study.runs()}
    run_all(study, [by_name['a', seed] for seed in (0, 1, 2)])
    table = run_all(study, [by_name['b', seed] for seed in (2, 1)])
    assert 'b 2 of 3 seeds, c 0 of 3 seeds' in table
    (contrast,) = read(study)['differences']
    assert (contrast['test']['pairs'], contrast['test']['mean']) == (2, 2.5)


def test_an_evaluator_that_is_added_is_asked_without_training(study, play):
    run_all(replace(study, evaluators=[]))
    play.played.clear()
    run_all(study)
    assert {tool for tool, _, _ in play.played} == {'test'}
    assert len(play.played) == 9


def test_a_result_that_cannot_be_measured_any_more_is_named_before_anything_is_done(study, play):
    run_all(replace(study, evaluators=[]))
    shutil.rmtree(study.run('a', 1).folder)
    play.played.clear()
    with pytest.raises(ConfigError, match=r'^a, seed 1: its result .* measured, but \S+ does not'):
        run_all(study)
    assert not play.played


def test_a_result_is_not_measured_on_another_training(study, play):
    run_all(replace(study, evaluators=[]))
    folder = study.run('a', 1).folder
    (log,) = folder.glob('*/vis_data/scalars.json')
    log.write_text(log.read_text().replace('52.0', '51.5'))  # of a training on another machine
    with pytest.raises(ConfigError, match=r'^a, seed 1: its result .* measured, but \S+ does not'):
        run_all(study)
    log.write_text(log.read_text().replace('51.5', '52.0'))
    run_all(study)
    info = json.loads((folder / 'run.json').read_text())
    del info['seconds']  # begun anew, and interrupted
    (folder / 'run.json').write_text(json.dumps(info))
    other = replace(study, evaluators=[dict(type='mmbss.CalibrationError')])
    with pytest.raises(ConfigError, match=r'^a, seed 1: its result .* measured, but \S+ does not'):
        run_all(other)


def test_a_config_that_is_edited_meanwhile_is_trained_as_it_was_checked(study, play, monkeypatch):
    path = Path(study.arms['a'].config)
    called, written = Run.call, {}

    def call(run, tool, flags, log, threads):
        if tool.stem == 'train':
            written[run.arm, run.seed] = Path(flags[0]).read_text()
            path.write_text(path.read_text().replace('0.1', '0.7'))
        called(run, tool, flags, log, threads)

    monkeypatch.setattr(Run, 'call', call)
    run_all(study)
    assert '0.7' in path.read_text()
    assert len(written) == 9
    assert not any('0.7' in text for text in written.values())


def test_a_failed_test_loses_no_training(study, play):
    run_all(replace(study, evaluators=[]), study.runs()[:1])
    play.failing.add(('a', 0))
    with pytest.raises(ConfigError, match='a, seed 0: out of memory'):
        run_all(study, study.runs()[:1])
    assert [each.value for each in read_results(study).values()] == [50.0]


def test_nothing_is_trained_if_one_does_not_want_to(study, play):
    run_all(study, study.runs()[:1])
    play.played.clear()
    table = run_all(study, trains=False)
    assert 'a 1 of 3 seeds' in table
    assert not play.played


def changed(study):
    arms = dict(study.arms, b=Arm(study.arms['b'].config, {MOMENTUM: 0.9}))
    return replace(study, arms=arms)


@pytest.mark.parametrize('left', ['results', 'folders'])
def test_results_and_folders_of_other_settings_are_refused_unless_run_again(study, play, left):
    run_all(study)
    play.played.clear()
    if left == 'results':
        shutil.rmtree(study.folder)
    else:
        shutil.rmtree(study.results.parent)
    with pytest.raises(ConfigError, match=r'b, seed 0.*--rerun') as caught:
        run_all(changed(study))
    assert len(caught.value.args) == 3
    assert not play.played
    run_all(changed(study), rerun=True)
    assert {arm for tool, arm, _ in play.played if tool == 'train'} == {'b'}
    assert len(list(study.folder.glob('b/replaced_0_seed_*'))) == 3 * (left == 'folders')
    assert read(study)['arms'][1]['values'] == ACCURACY['b']


def test_results_of_other_weights_to_start_from_are_refused(study, play, tmp_path):
    weights = tmp_path / 'start.pth'
    weights.write_text('first')
    start = {'model.init_cfg': dict(type='Pretrained', checkpoint=str(weights))}
    study = replace(study, common=start, evaluators=[])
    table = run_all(study)
    shutil.rmtree(study.folder)
    assert run_all(study) == table
    weights.write_text('second')
    with pytest.raises(
        ConfigError, match=r'a, seed 0: its result in .*the student starts from: --rerun'
    ):
        run_all(study)
    weights.unlink()
    assert run_all(study) == table


def test_results_of_other_settings_stand_beside_no_new_ones(study, play):
    run_all(study)
    study, old = changed(study), read_results(study)
    by_name = {(run.arm, run.seed): run for run in study.runs()}
    play.failing.add(('b', 1))
    with pytest.raises(ConfigError, match='memory'):
        run_all(study, [by_name['b', seed] for seed in (0, 1)] + [by_name['a', 0]], rerun=True)
    play.failing.clear()
    table = study.file('.md').read_text()
    assert 'other settings: b seed 1, b seed 2.' in table
    (row,) = [row for row in read(study)['arms'] if row['name'] == 'b']
    assert row['seeds'] == [0]
    assert read(study)['differences'][0]['test']['pairs'] == 1
    assert len(read(study)['results']) == 9  # nothing is lost
    table = run_all(study, rerun=True)
    assert 'other settings' not in table
    # one that was not told of the new results meanwhile
    assert 'other settings' not in keep(study, others=[old['b', 0]])


def test_a_seed_that_an_arm_has_no_more_is_shown_with_its_settings_alone(study, play):
    run_all(study)
    arms = dict(study.arms, c=replace(study.arms['c'], seeds=2))
    fewer = replace(study, arms=arms)
    table = run_all(fewer)
    assert '2: ' in table.split('| c | ')[1].splitlines()[0]
    assert 'Not complete' not in table
    changed_arm = replace(arms['c'], options={MOMENTUM: 0.9})
    other = replace(study, arms=dict(arms, c=changed_arm))
    shutil.rmtree(study.folder)
    table = run_all(other, rerun=True)
    assert 'other settings: c seed 2.' in table
    (row,) = [row for row in read(study)['arms'] if row['name'] == 'c']
    assert row['seeds'] == [0, 1]


def test_seeds_that_are_planned_count_as_complete_and_no_others(study, play):
    run_all(study, [study.run('c', 2), study.run('c', 1)])
    fewer = replace(study, arms=dict(study.arms, c=replace(study.arms['c'], seeds=2)))
    assert 'c 1 of 2 seeds' in run_all(fewer, [])


def test_studies_whose_names_hold_dots_have_files_of_their_own(study, play):
    one, other = (replace(study, results=study.results.with_name(f'lr.0.{k}')) for k in (1, 2))
    run_all(one)
    assert read_results(other) == {}
    assert one.file('.json').name == 'lr.0.1.json'


def test_a_metric_that_is_not_finite_loses_no_result(study, play, monkeypatch):
    monkeypatch.setitem(ACCURACY, 'b', [float('nan')] * 3)
    values = iter([50.0, 51.0, 52.0])
    monkeypatch.setattr('mmbss.studies.results.LoggedRun.last_value', lambda *_: next(values))
    table = run_all(study, [study.run('b', seed) for seed in (0, 1, 2)])
    assert 'nan ± nan' in table
    assert len(read(study)['results']) == 3


def test_what_other_evaluators_said_is_not_shown(study, play):
    run_all(study)
    other = replace(study, evaluators=[dict(type='mmbss.CalibrationError')])
    table = run_all(other, other.runs()[:1])
    (line,) = [line for line in table.splitlines() if 'agreement/top1' in line]
    assert line == '| agreement/top1 | 70.00 |  |  |  |'


def test_what_was_said_of_other_weights_is_asked_again(study, play, tmp_path):
    teacher = tmp_path / 'teacher.pth'
    asked = dict(type='mmbss.Agreement', teacher=dict(config='a.py', checkpoint=str(teacher)))
    study = replace(study, evaluators=[asked])
    run = study.run('a', 0)
    runner = StudyRunner(study, Path('tools'))
    for content, tests in (('first', 1), ('first', 0), ('second', 1), (None, 0)):
        teacher.unlink() if content is None else teacher.write_text(content)
        play.played.clear()
        runner.finish(run)
        assert len([each for each in play.played if each[0] == 'test']) == tests
    assert 'agreement/top1' in keep(study)


def test_a_model_is_handed_to_metrics_that_its_training_did_not_have(study, play):
    run = study.run('a', 0)
    StudyRunner(study, Path('tools')).finish(run)
    measured = Config.fromfile(run.folder / 'measured' / 'config.py')
    assert measured.default_hooks.model_metrics == dict(type='mmbss.ModelMetricHook')


def test_a_finished_run_from_elsewhere_is_accepted(study, play):
    run = study.run('a', 0)
    run_all(replace(study, evaluators=[]), [run])
    shutil.rmtree(study.results.parent)
    (run.folder / 'run.json').write_text(json.dumps(dict(digest='of old', seconds=1.0)))
    play.played.clear()
    table = run_all(replace(study, evaluators=[]), trains=False)
    assert not play.played
    assert 'unknown (1)' in table


def test_what_a_run_may_be_moved_to_does_not_make_it_another(study):
    run = study.run('a', 0)
    moved = study.run('a', 0)
    moved.merged.env_cfg = dict(cudnn_benchmark=True, dist_cfg=dict(backend='gloo'))
    assert moved.digest == run.digest
    moved.merged.optim_wrapper.optimizer.lr = 0.2
    assert moved.digest != run.digest


def test_a_resumed_run_names_both_commits_and_devices(study, play, monkeypatch):
    run = study.run('a', 0)
    for commit in ('first', 'first', 'second', 'second'):
        monkeypatch.setattr('mmbss.studies.runs.git_commit', lambda folder, name=commit: name)
        monkeypatch.setattr('mmbss.studies.runs.device_name', lambda name=commit: f'{name} GPU')
        run.train(Path('train.py'), threads=1)
        info = json.loads((run.folder / 'run.json').read_text())
        (run.folder / 'run.json').write_text(
            json.dumps({key: value for key, value in info.items() if key != 'seconds'})
        )
    assert info['commit'] == 'first, then second'
    assert info['device'] == 'first GPU, then second GPU'


def test_the_teacher_is_trained_first_and_shown_first(study, play, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setitem(ACCURACY, 'plain', [60.0])
    table = run_all(replace(study, question='Which?', teacher='plain.py', evaluators=[]), jobs=2)
    assert play.played[0] == ('train', 'plain', 0)
    assert table.splitlines()[4].startswith('| plain |')
    contents = read_contents(study.folder)
    assert contents['question'] == 'Which?'
    assert contents['arms'] == {
        'plain': Path('work_dirs/plain'),
        **{name: study.folder / name for name in 'abc'},
    }
    assert 'plain' not in read(study)['differences'][0].values()


def test_a_teacher_whose_result_alone_is_there_is_trained_for_runs_that_are_left(
    study, play, tmp_path, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setitem(ACCURACY, 'plain', [70.0])
    study = replace(study, teacher='plain.py', evaluators=[])
    run_all(study)
    shutil.rmtree('work_dirs/plain')
    play.played.clear()
    run_all(study)
    assert play.played == []
    shutil.rmtree(study.run('b', 1).folder)
    path = Path(f'{study.results}.json')
    kept = json.loads(path.read_text())
    kept['results'] = [r for r in kept['results'] if (r['arm'], r['seed']) != ('b', 1)]
    path.write_text(json.dumps(kept))
    run_all(study)
    assert play.played == [('train', 'plain', 0), ('train', 'b', 1)]
