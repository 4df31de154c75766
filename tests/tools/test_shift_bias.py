import re
import shutil

import pytest
import torch
from mmengine.config import Config

BIAS = 'head.fc.bias'


@pytest.fixture
def network(digits_teacher, tmp_path, write_config):
    """A trained network whose class 3 has too low a bias, with held-out digits in its config."""
    config = Config.fromfile(digits_teacher['config'])
    held_out = dict(type='mmbss.Digits', split='train', indices=-300, test_mode=True)
    config.held_out_dataloader = dict(config.val_dataloader, dataset=held_out)
    content = torch.load(digits_teacher['checkpoint'], map_location='cpu')
    content['state_dict'][BIAS][3] -= 6
    torch.save(content, tmp_path / 'network.pth')
    return write_config(tmp_path / 'network.py', config.to_dict()), tmp_path / 'network.pth'


def read_table(output):
    lines = [line for line in output.splitlines() if line.startswith('|')]
    rows = [[cell.strip() for cell in line.strip('|').split('|')] for line in lines]
    return {row[0]: [float(cell) for cell in row[1:]] for row in rows[2:]}


def test_the_shift_of_the_held_out_images_is_saved_and_reported(network, python, root):
    config, checkpoint = network
    # in a process of its own, where nothing has repaired the platform yet
    output = python(root / 'tools/shift_bias.py', config, checkpoint, '--classes', 3).stdout
    table = read_table(output)
    assert list(table) == ['none', 'held-out training images', 'test set (too good)']
    before, chosen, too_good = table.values()
    assert before[0] == 0
    assert chosen[0] > 1
    assert chosen[1] < before[1]
    assert chosen[2] < before[2]
    assert chosen[3] < before[3]
    assert too_good[2] <= chosen[2]
    written = checkpoint.with_name('network_shifted.pth')
    assert str(written) in output
    old, new = (
        torch.load(path, map_location='cpu')['state_dict'] for path in (checkpoint, written)
    )
    assert list(new) == list(old)
    for name in old:
        if name != BIAS:
            assert torch.equal(new[name], old[name])
    difference = new[BIAS] - old[BIAS]
    assert difference[3].item() == pytest.approx(chosen[0], abs=0.01)
    assert difference[[0, 1, 2, 4, 5, 6, 7, 8, 9]].abs().max() == 0


def test_the_written_checkpoint_makes_the_reported_errors(network, call_tool, capsys, tmp_path):
    config, checkpoint = network
    shifted = tmp_path / 'shifted' / 'a.pth'
    call_tool('shift_bias', config, checkpoint, '--classes', 3, 5, '--out', shifted)
    reported = read_table(capsys.readouterr().out)['held-out training images']
    call_tool('shift_bias', config, shifted, '--classes', 3, 5)
    assert read_table(capsys.readouterr().out)['none'][1:] == reported[1:]


def test_several_networks_are_shifted_each_by_its_own_number(network, call_tool, capsys, tmp_path):
    config, checkpoint = network
    content = torch.load(checkpoint, map_location='cpu')
    content['state_dict'][BIAS][3] -= 1
    torch.save(content, tmp_path / 'other.pth')
    call_tool('shift_bias', config, checkpoint, tmp_path / 'other.pth', '--classes', 3)
    lines = capsys.readouterr().out.splitlines()
    none, chosen, too_good = (re.findall(r'[+-]?\d+\.?\d*', line) for line in lines[2:5])
    mean, deviation, first, second, *errors = map(float, chosen)
    assert second - first == pytest.approx(1, abs=0.01)
    assert mean == pytest.approx((first + second) / 2, abs=0.01)
    assert deviation == pytest.approx(0.5**0.5, abs=0.01)
    # the two networks are one again: mean, deviation and both values of each kind of errors
    assert errors == [number for n in errors[2::4] for number in (n, 0, n, n)]
    shifted = [torch.load(tmp_path / f'{name}_shifted.pth') for name in ('network', 'other')]
    first, second = (content['state_dict'][BIAS] for content in shifted)
    torch.testing.assert_close(first, second, atol=1e-4, rtol=0)
    assert errors[0] < float(none[4])
    assert errors[0] <= float(too_good[4])


def test_one_file_cannot_hold_several_networks(network, call_tool, capsys, tmp_path):
    config, checkpoint = network
    with pytest.raises(SystemExit):
        call_tool(
            'shift_bias',
            config,
            checkpoint,
            checkpoint,
            '--classes',
            3,
            '--out',
            tmp_path / 'a.pth',
        )
    assert '--out is for one checkpoint' in capsys.readouterr().err


def test_no_network_is_written_over(network, call_tool, tmp_path):
    config, checkpoint = network
    shutil.copy(checkpoint, tmp_path / 'network.pt')
    with pytest.raises(SystemExit, match=r'network_shifted\.pth would be written over'):
        call_tool('shift_bias', config, checkpoint, tmp_path / 'network.pt', '--classes', 3)
    with pytest.raises(SystemExit, match=r'network\.pth would be written over'):
        call_tool('shift_bias', config, checkpoint, '--classes', 3, '--out', checkpoint)
    with pytest.raises(SystemExit, match=r'no file .*gone\.pth'):
        call_tool('shift_bias', config, checkpoint, tmp_path / 'gone.pth', '--classes', 3)
    assert not [*tmp_path.glob('*_shifted.pth')]


@pytest.mark.parametrize('classes', [[11], [-1], range(10)])
def test_classes_that_cannot_be_shifted_are_refused(network, call_tool, classes):
    with pytest.raises(SystemExit, match=r'^error: .*must be some, not all, of 0 to 9'):
        call_tool('shift_bias', *network, '--classes', *classes)


def test_a_class_that_the_held_out_images_lack_is_refused(network, call_tool, write_config):
    path, checkpoint = network
    config = Config.fromfile(path)
    whole = config.held_out_dataloader.dataset.to_dict()
    config.held_out_dataloader.dataset = dict(type='mmbss.ClassSubset', dataset=whole, drop=[3])
    write_config(path, config.to_dict())
    with pytest.raises(
        SystemExit, match=r'^error: held_out_dataloader has no sample of class \[3\]'
    ):
        call_tool('shift_bias', path, checkpoint, '--classes', 3)


def test_a_config_without_held_out_images_is_refused(digits_teacher, call_tool):
    arguments = digits_teacher['config'], digits_teacher['checkpoint']
    with pytest.raises(SystemExit, match=r'^error: .* has no held_out_dataloader'):
        call_tool('shift_bias', *arguments, '--classes', 3)


def test_a_checkpoint_that_is_missing_or_does_not_fit_is_refused(network, call_tool, tmp_path):
    config, checkpoint = network
    with pytest.raises(SystemExit, match=r"^error: .*no file .*gone\.pth'"):
        call_tool('shift_bias', config, tmp_path / 'gone.pth', '--classes', 3)
    content = torch.load(checkpoint, map_location='cpu')
    content['state_dict'].pop(BIAS)
    torch.save(content, checkpoint)
    with pytest.raises(SystemExit, match=r'^error: .*does not fit'):
        call_tool('shift_bias', config, checkpoint, '--classes', 3)


def test_beside_a_student_of_the_zoo_nothing_is_written(network, call_tool, tmp_path):
    config, _ = network
    student = 'mmbss://segment-unlabelled_resnet8-w2_digits'
    with pytest.raises(SystemExit, match=r'^error: mmbss://.*--out'):
        call_tool('shift_bias', config, student, '--classes', 3)
    # it is read by its name, and is of another width
    with pytest.raises(SystemExit, match=r'^error: .*mmbss://.* does not fit'):
        call_tool('shift_bias', config, student, '--classes', 3, '--out', tmp_path / 'a.pth')


def test_a_config_without_test_images_is_refused(network, call_tool, write_config, tmp_path):
    config = Config.fromfile(network[0])
    config.test_dataloader = None
    path = write_config(tmp_path / 'without.py', config.to_dict())
    with pytest.raises(SystemExit, match=r'^error: .* has no test_dataloader'):
        call_tool('shift_bias', path, network[1], '--classes', 3)
