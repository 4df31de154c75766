import os

import pytest
import torch
from mmengine.config import Config

from mmbss.engine.errors import ConfigError
from mmbss.engine.resume import checkpoint_folder, choose_checkpoint
from mmbss.engine.work_dir import claimed_work_dir


def write(path, iteration=None, epoch=0, seed=3, **content):
    if iteration is not None:
        content['meta'] = dict(epoch=epoch, iter=iteration, seed=seed)
    path.parent.mkdir(exist_ok=True, parents=True)
    torch.save(dict(state_dict=dict(weight=torch.zeros(300)), **content), path)
    return path


def damage(path):
    path.write_bytes(path.read_bytes()[:100])


@pytest.fixture
def work_dir(tmp_path):
    """A run of two epochs of six iterations."""
    for epoch in (1, 2):
        write(tmp_path / 'run' / f'epoch_{epoch}.pth', 6 * epoch, epoch)
    (tmp_path / 'run' / 'last_checkpoint').write_text(str(tmp_path / 'run' / 'epoch_2.pth'))
    return tmp_path / 'run'


def chosen(folder, resume='auto', load_from=None, **checkpoint):
    cfg = Config(dict(work_dir=str(folder), resume=resume, load_from=load_from))
    cfg.default_hooks = dict(checkpoint=checkpoint)
    choose_checkpoint(cfg)
    return cfg.resume, cfg.load_from


@pytest.mark.parametrize('resume', ['auto', True])
def test_a_run_goes_on_from_the_newest_checkpoint(resume, work_dir):
    assert chosen(work_dir, resume) == (True, str(work_dir / 'epoch_2.pth'))


def test_without_resume_nothing_is_chosen(work_dir):
    assert chosen(work_dir, resume=False) == (False, None)


@pytest.mark.parametrize(
    'pointer', [None, b'', b'\0\xff\n/..', b'/nowhere/epoch_9.pth', b'x' * 9999, b'epoch_1.pth']
)
def test_the_folder_decides_whatever_the_pointer_says(pointer, work_dir):
    (work_dir / 'last_checkpoint').unlink()
    if pointer is not None:
        (work_dir / 'last_checkpoint').write_bytes(pointer)
    assert chosen(work_dir) == (True, str(work_dir / 'epoch_2.pth'))


def test_a_pointer_that_is_no_file_is_not_read(work_dir):
    (work_dir / 'last_checkpoint').unlink()
    os.mkfifo(work_dir / 'last_checkpoint')
    assert chosen(work_dir) == (True, str(work_dir / 'epoch_2.pth'))


def test_a_moved_or_copied_work_dir_is_gone_on_with_from_its_own(work_dir, tmp_path):
    work_dir.rename(tmp_path / 'moved')
    assert chosen(tmp_path / 'moved') == (True, str(tmp_path / 'moved' / 'epoch_2.pth'))


@pytest.mark.parametrize(
    ('name', 'iteration', 'epoch', 'is_newer'),
    [
        ('iter_9.pth', 9, 1, False),
        ('iter_12.pth', 12, 1, False),  # of the last iteration, before the epoch was over
        ('iter_13.pth', 13, 2, True),
        ('epoch_10.pth', 13, 2, True),  # 10 is more than 9, not less
    ],
)
def test_the_newest_is_that_of_the_furthest_training(name, iteration, epoch, is_newer, work_dir):
    write(work_dir / name, iteration, epoch)
    assert chosen(work_dir)[1] == str(work_dir / (name if is_newer else 'epoch_2.pth'))


@pytest.mark.parametrize('template', ['net_{}.pth', 'net_{:04d}.pth', 'net_{0}.pth', 'last.pth'])
def test_names_of_ones_own_are_known(template, work_dir):
    for path in work_dir.iterdir():
        path.unlink()
    for epoch in (1, 2):
        write(work_dir / template.format(epoch), 6 * epoch, epoch)
    wanted = str(work_dir / template.format(2))
    assert chosen(work_dir, filename_tmpl=template) == (True, wanted)
    # a config that does not know the name finds it by the pointer
    (work_dir / 'last_checkpoint').write_text(f'/moved/{template.format(2)}')
    assert chosen(work_dir) == (True, wanted)


def test_checkpoints_of_another_folder_are_those_of_the_config(work_dir, tmp_path):
    logs = tmp_path / 'logs' / 'run'
    logs.mkdir(parents=True)
    assert chosen(logs, out_dir=str(tmp_path)) == (True, str(work_dir / 'epoch_2.pth'))


def test_where_the_folder_has_none_the_pointer_helps(work_dir, tmp_path):
    (tmp_path / 'logs').mkdir()
    (tmp_path / 'logs' / 'last_checkpoint').write_text(str(work_dir / 'epoch_1.pth'))
    assert chosen(tmp_path / 'logs') == (True, str(work_dir / 'epoch_2.pth'))


def test_damaged_ones_are_left_out(work_dir, caplog):
    damage(work_dir / 'epoch_2.pth')
    assert chosen(work_dir) == (True, str(work_dir / 'epoch_1.pth'))


def test_nothing_to_resume_is_a_start_with_the_weights_of_load_from(tmp_path):
    (tmp_path / '20240101_000000').mkdir()  # killed before its first checkpoint
    (tmp_path / '.epoch_1.pth.123.part').touch()
    assert chosen(tmp_path) == (False, None)
    assert chosen(tmp_path, load_from='right.pth') == (False, 'right.pth')


def test_what_is_in_the_folder_goes_before_load_from(work_dir):
    assert chosen(work_dir, load_from='right.pth') == (True, str(work_dir / 'epoch_2.pth'))


def only_best(work_dir):
    for path in work_dir.iterdir():
        path.unlink()
    write(work_dir / 'best_accuracy_epoch_1.pth', 6, 1)


def nothing_but_the_pointer(work_dir):
    for path in work_dir.glob('*.pth'):
        path.unlink()


def all_damaged(work_dir):
    for path in work_dir.glob('*.pth'):
        damage(path)


def weights_alone(work_dir):
    write(work_dir / 'epoch_3.pth')


def pipes(work_dir):
    for path in work_dir.glob('*.pth'):
        path.unlink()
        os.mkfifo(path)


def strange_meta(work_dir):
    write(work_dir / 'epoch_3.pth', meta=dict(epoch='3', iter=None))


@pytest.mark.parametrize(
    ('change', 'message'),
    [
        (only_best, r'no checkpoint .*there is .*best_accuracy_epoch_1\.pth'),
        (nothing_but_the_pointer, r'last_checkpoint names .*epoch_2\.pth'),
        (all_damaged, r'epoch_2\.pth: .*damaged.*epoch_1\.pth: .*damaged'),
        (weights_alone, r'epoch_3\.pth holds no state of a training'),
        (strange_meta, r'epoch_3\.pth holds no state of a training'),
        (pipes, r'no checkpoint .*epoch_2\.pth'),
    ],
)
def test_what_cannot_be_understood_is_refused_not_started_again(change, message, work_dir):
    change(work_dir)
    with pytest.raises(ValueError, match=message):
        chosen(work_dir)


def test_a_named_checkpoint_must_be_whole(work_dir, tmp_path):
    path = write(tmp_path / 'other' / 'epoch_1.pth', 6, 1)
    assert chosen(tmp_path / 'new', True, str(path)) == (True, str(path))
    damage(path)
    with pytest.raises(ValueError, match=r'epoch_1\.pth: .*damaged'):
        chosen(tmp_path / 'new', True, str(path))


def test_later_checkpoints_are_not_overwritten_by_going_back(work_dir, tmp_path):
    elsewhere = write(tmp_path / 'other' / 'epoch_1.pth', 6, 1)
    for path in (work_dir / 'epoch_1.pth', elsewhere):
        with pytest.raises(ValueError, match=r'epoch_2\.pth, which is later, would be overwritten'):
            chosen(work_dir, True, str(path))
    damage(work_dir / 'epoch_2.pth')
    own = str(work_dir / 'epoch_1.pth')
    assert chosen(work_dir, True, own) == (True, own)


def test_a_run_does_not_go_on_among_the_checkpoints_of_another(work_dir, tmp_path):
    """Its numbers of outdated checkpoints, and its best one, would be taken for theirs."""
    elsewhere = str(write(tmp_path / 'other' / 'epoch_3.pth', 18, 3))
    for source in (elsewhere, 'https://localhost/epoch_3.pth'):
        with pytest.raises(ValueError, match=r'run holds 2 checkpoints .*goes on from .*remove'):
            chosen(work_dir, True, source)
    only_best(work_dir)
    with pytest.raises(ValueError, match=r'best_accuracy_epoch_1\.pth'):
        chosen(work_dir, True, elsewhere)
    (work_dir / 'best_accuracy_epoch_1.pth').unlink()
    (tmp_path / 'link').symlink_to(tmp_path / 'other')
    for folder in ('run', 'other', 'link'):
        assert chosen(tmp_path / folder, True, elsewhere) == (True, elsewhere)


@pytest.mark.parametrize(
    'template',
    [
        'sub/epoch_{}.pth',
        'e{:.1f}.pth',
        'net_{:>4}.pth',
        'net_{:x}.pth',
        'net_{:,}.pth',
        'net_{:+}.pth',
        'net_{:0<3}.pth',
        'epoch_{}_{{x}}.pth',
        'epoch_{}_{}.pth',
        'epoch_{name}.pth',
        'epoch_{.name}.pth',
        'epoch_{',
        '../{}.pth',
        '{}.safetensors',
        '',
    ],
)
@pytest.mark.parametrize('resume', ['auto', False])
def test_names_that_a_resume_would_not_know_are_refused(template, resume, tmp_path):
    cfg = Config(dict(work_dir=str(tmp_path), resume=resume))
    cfg.default_hooks = dict(checkpoint=dict(filename_tmpl=template))
    with (
        pytest.raises(ValueError, match=r'filename_tmpl=.* a resume would not know'),
        claimed_work_dir(cfg),
    ):
        choose_checkpoint(cfg)


def test_checkpoints_in_another_storage_are_left_to_mmengine(tmp_path):
    assert chosen(tmp_path, out_dir='s3://bucket/run') == (True, None)


@pytest.mark.parametrize('seed', [None, 3, 5])
def test_the_seed_is_that_of_the_run(seed, work_dir, capsys):
    cfg = Config(dict(work_dir=str(work_dir), resume='auto', randomness=dict(seed=seed)))
    choose_checkpoint(cfg)
    assert cfg.randomness.seed == 3


def test_a_student_of_the_zoo_is_nothing_to_go_on_from(tmp_path):
    student = 'mmbss://bss_resnet8_cifar10'
    with pytest.raises(ConfigError, match='only weights'):
        chosen(tmp_path, True, student)
    assert chosen(tmp_path, 'auto', student) == (False, student)


def test_the_later_one_before_a_damaged_one_is_not_overwritten_either(work_dir):
    write(work_dir / 'epoch_3.pth', 18, 3)
    damage(work_dir / 'epoch_3.pth')
    with pytest.raises(ValueError, match=r'epoch_2\.pth, which is later'):
        chosen(work_dir, True, str(work_dir / 'epoch_1.pth'))


def test_the_folder_is_that_of_mmengine_also_through_links(tmp_path):
    (tmp_path / 'real').mkdir()
    (tmp_path / 'run').symlink_to(tmp_path / 'real')

    def folder(out_dir):
        cfg = Config(dict(work_dir=str(tmp_path / 'run')))
        cfg.default_hooks = dict(checkpoint=dict(out_dir=str(out_dir)))
        return checkpoint_folder(cfg)

    assert folder(tmp_path / 'ck') == tmp_path / 'ck' / 'run'
    assert folder(tmp_path / 'run') == tmp_path / 'run'
