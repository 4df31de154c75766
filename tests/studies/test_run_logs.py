import json
import os

import pytest

from mmbss.engine.errors import ConfigError
from mmbss.studies.run_logs import logged_seconds, read_run


def test_a_resumed_run_is_read_as_one(make_run, tmp_path):
    run = read_run(make_run(tmp_path / 'bss', seed=7))
    assert (run.name, run.seed) == ('bss', 7)
    assert run.val_series('accuracy/top1') == {1: 65.0, 2: 66.0, 3: 67.0}
    assert run.last_value('accuracy/top1') == 67.0
    assert run.ms_per_iteration() == pytest.approx(20.0)


def test_what_a_later_log_repeats_counts_once(make_run, tmp_path):
    folder = make_run(tmp_path / 'bss')
    logs = folder / '20260103_000000' / 'vis_data'
    logs.mkdir(parents=True)
    (logs / 'config.py').write_text('train_cfg = dict(max_epochs=3)')
    # begun anew in the same folder, and killed after the first epoch
    records = [dict(lr=0.1, loss=7.0, epoch=1, step=5), {'accuracy/top1': 30.0, 'step': 1}]
    (logs / 'scalars.json').write_text('\n'.join(map(json.dumps, records)))
    run = read_run(folder)
    assert run.train_series('loss') == {1: 7.0}
    assert run.val_series('accuracy/top1') == {1: 30.0}
    assert run.unfinished == 'epoch 1 of 3'
    # a resume that has but made up for a validation repeats nothing
    (logs / 'scalars.json').write_text(json.dumps(records[1] | dict(step=3)))
    assert list(read_run(folder).val_series('accuracy/top1')) == [1, 2, 3]


def write_log(folder, name, written, epochs):
    logs = folder / name / 'vis_data'
    logs.mkdir(parents=True)
    (logs / 'config.py').write_text('train_cfg = dict(max_epochs=6)')
    records = [
        record
        for epoch in epochs
        for record in (
            {'lr': 0.1, 'loss': 1.0, 'epoch': epoch, 'step': 20 * epoch},
            {'accuracy/top1': 10.0 * epoch, 'step': epoch},
        )
    ]
    log = logs / 'scalars.json'
    log.write_text('\n'.join(map(json.dumps, records)))
    os.utime(log, (written, written))


@pytest.mark.parametrize('begins', [4, 3, 1])
def test_a_clock_that_steps_back_between_two_logs_turns_no_order(tmp_path, begins):
    write_log(tmp_path, '20261025_025900', 1e9, range(1, 4))
    write_log(tmp_path, '20261025_020100', 1e9 + 120, range(begins, 7))
    assert read_run(tmp_path).last_value('accuracy/top1') == 60.0
    assert read_run(tmp_path).unfinished == ''


def test_files_copied_without_their_times_stay_in_the_order_of_their_names(tmp_path):
    write_log(tmp_path, '20261025_010000', 1e9 + 1, range(1, 4))
    write_log(tmp_path, '20261025_020000', 1e9, range(4, 7))
    assert read_run(tmp_path).last_value('accuracy/top1') == 60.0


def test_a_resume_from_an_earlier_checkpoint_is_the_later_log(tmp_path):
    write_log(tmp_path, '20261025_010000', 1e9, range(1, 7))
    write_log(tmp_path, '20261025_020000', 1e9 + 60, range(3, 5))
    assert read_run(tmp_path).last_value('accuracy/top1') == 40.0


@pytest.mark.parametrize(
    ('plan', 'said'),
    [
        (dict(max_epochs=80), 'epoch 3 of 80'),
        (dict(by_epoch=False, max_iters=9), 'iteration 3 of 9'),
        *((dict(max_epochs=3), ''), (dict(), '')),
    ],
)
def test_how_far_an_interrupted_run_is(make_run, tmp_path, plan, said):
    folder = make_run(tmp_path / 'bss', train_cfg=plan)
    assert read_run(folder).unfinished == said
    (folder / 'run.json').write_text('{"seconds": 3.0}')
    assert read_run(folder).unfinished == '', 'it has ended, perhaps early'


def test_validations_that_name_neither_epoch_nor_iteration(make_run, tmp_path):
    folder = make_run(tmp_path / 'bss', by_epoch=False, train_cfg=dict(max_iters=30))
    for log in folder.glob('*/vis_data/scalars.json'):
        records = map(json.loads, log.read_text().splitlines())
        records = [each if 'lr' in each else dict(each, step=0) for each in records]
        log.write_text('\n'.join(map(json.dumps, records)))
    run = read_run(folder)
    assert run.unfinished == ''
    assert run.last_value('accuracy/top1') == 53.0


def test_training_scalars_are_averaged_over_each_epoch(make_run, tmp_path):
    run = read_run(make_run(tmp_path / 'bss'))
    assert run.train_series('loss')[1] == pytest.approx((100 / 5 + 100 / 10) / 2)
    assert run.train_series('loss_kd') == {}
    assert list(run.train_series('bss_accepted')) == [1, 2, 3]
    assert list(run.train_series('bss_accepted', while_positive='bss_samples')) == [1, 2]


def test_training_by_iteration_is_counted_in_iterations(make_run, tmp_path):
    run = read_run(make_run(tmp_path / 'bss', by_epoch=False))
    assert not run.by_epoch
    assert run.train_series('loss')[20] == 5.0


def test_a_metric_that_was_never_logged_is_named(make_run, tmp_path):
    run = read_run(make_run(tmp_path / 'bss'))
    with pytest.raises(ValueError, match=r"no accuracy/top5; .* among \['accuracy/top1'\]"):
        run.last_value('accuracy/top5')


def test_a_metric_that_the_last_validation_lacks_is_not_taken_from_an_earlier_one(
    make_run, tmp_path
):
    folder = make_run(tmp_path / 'bss')
    last = max(folder.glob('*/vis_data/scalars.json'))
    with last.open('a') as log:
        log.write('\n' + json.dumps({'f1': 3.0, 'step': 4}))
    run = read_run(folder)
    assert run.last_value('f1') == 3.0
    with pytest.raises(ConfigError, match=r'last validation, at 4, has no accuracy/top1;.*at 3'):
        run.last_value('accuracy/top1')


def test_the_last_checkpoint_is_found_wherever_the_folder_is_now(make_run, tmp_path):
    run = read_run(make_run(tmp_path / 'bss'))
    with pytest.raises(FileNotFoundError, match='holds no checkpoint'):
        run.checkpoint()
    for name in ('epoch_9.pth', 'epoch_10.pth', 'best_accuracy_top1_epoch_11.pth'):
        (run.folder / name).touch()
    assert run.checkpoint().name == 'epoch_10.pth'
    (run.folder / 'last_checkpoint').write_text('/elsewhere/bss/epoch_9.pth')
    assert run.checkpoint() == run.folder / 'epoch_9.pth'


def test_a_folder_without_a_run_is_refused(tmp_path):
    with pytest.raises(FileNotFoundError, match='holds no run: there is no'):
        read_run(tmp_path)


@pytest.mark.parametrize(
    ('name', 'content', 'named'),
    [
        ('scalars.json', '{"step": 1}\n{"step": 2', r'scalars\.json, line 2 is no record'),
        ('scalars.json', '3', r'scalars\.json, line 1 is no record'),
        ('scalars.json', b'\xff\xfe', r'scalars\.json, line 1 is no record'),
        ('config.py', 'model = dict(', r'config\.py: SyntaxError'),
        ('config.py', None, r'config\.py: FileNotFoundError'),
    ],
)
def test_a_damaged_log_is_named_with_its_line(make_run, tmp_path, name, content, named):
    folder = make_run(tmp_path / 'bss')
    for file in folder.glob(f'*/vis_data/{name}'):
        file.unlink()
        if content is not None:
            file.write_bytes(content if isinstance(content, bytes) else content.encode())
    with pytest.raises(ConfigError, match=named):
        read_run(folder)


def test_the_time_of_a_run_has_that_of_interrupted_processes(tmp_path):
    assert logged_seconds(tmp_path) == 0
    for start, seconds in (('20260102_030405', 40), ('20260102_040000', 2.5)):
        log, config = tmp_path / start / f'{start}.log', tmp_path / start / 'vis_data' / 'config.py'
        config.parent.mkdir(parents=True)
        for file, age in ((config, seconds), (log, 0)):
            file.touch()
            os.utime(file, (1e9 - age, 1e9 - age))
    assert logged_seconds(tmp_path) == 42.5
