import csv
import errno
import json
import os
import subprocess
import sys

import numpy as np
import pytest
import torch
from PIL import Image

from mmbss.datasets import Digits


@pytest.fixture
def digits(tmp_path):
    """Three digits and a file that is none, in folders of folders."""
    folder = tmp_path / 'digits' / 'deeper'
    folder.mkdir(parents=True)
    for row in range(3):
        Image.fromarray(Digits('test').get_data_info(row)['img']).save(folder / f'{row}.png')
    (folder / 'broken.png').write_text('no image')
    return tmp_path / 'digits'


def test_images_in_folders_are_named(call_tool, digits_teacher, digits, tmp_path, capsys):
    config, checkpoint = digits_teacher.values()
    (digits / 'deeper' / '0.png').rename(digits / 'deeper' / '0\udcff.png')  # no text
    outputs = ['--json', tmp_path / 'new' / 'out.json', '--csv', tmp_path / 'out.csv']
    call_tool('predict', config, digits, '--checkpoint', checkpoint, '--top', '2', *outputs)
    printed = capsys.readouterr()
    assert 'broken.png: not read' in printed.err
    rows = json.loads((tmp_path / 'new' / 'out.json').read_text())
    assert [row['problem'] is None for row in rows] == [True, True, True, False]
    first = rows[0]['predictions']
    assert f'0\\udcff.png: {first[0]["label"]} {first[0]["probability"]:.4f}, ' in printed.out
    with (tmp_path / 'out.csv').open(encoding='utf-8', errors='surrogateescape') as file:
        table = list(csv.DictReader(file))
    assert [row['rank'] for row in table] == ['1', '2'] * 3 + ['']
    assert [row['label'] for row in table[:2]] == [each['label'] for each in first]
    assert 'broken.png' in table[-1]['problem']


@pytest.mark.parametrize(
    ('flags', 'message'),
    [
        (['--top', '0'], 'top'),
        (['none.png'], 'none.png'),
        ([], 'none of 1 images'),
        (['--csv', '.'], 'folder'),
        (['--json', 'BROKEN'], 'one of the images'),
    ],
)
def test_mistakes_end_in_one_line(flags, message, call_tool, digits_teacher, digits):
    config, checkpoint = digits_teacher.values()
    broken = digits / 'deeper' / 'broken.png'
    flags = [broken if flag == 'BROKEN' else flag for flag in flags]
    with pytest.raises(SystemExit, match=rf'^error: .*{message}'):
        call_tool('predict', config, broken, *flags, '--checkpoint', checkpoint)


def test_a_student_of_the_zoo_is_asked_by_its_name(call_tool, digits, root, capsys):
    config = root / 'configs/baseline/resnet8-w2_1xb64-30e_digits.py'
    student, image = 'mmbss://segment-unlabelled_resnet8-w2_digits', digits / 'deeper' / '0.png'
    call_tool('predict', student, image)
    said = capsys.readouterr().out
    assert '0.png: ' in said
    call_tool('predict', config, image, '--checkpoint', student)
    assert capsys.readouterr().out == said
    with pytest.raises(SystemExit, match=r'^error: .*nothing'):
        call_tool('predict', 'mmbss://nothing', image)


@pytest.fixture
def of_arrays(resnet_config, write_config, build_model, tmp_path):
    """Config and checkpoint of a student of two classes that is tested on colour arrays."""
    images = np.random.default_rng(0).integers(0, 256, (6, 8, 8, 3), dtype=np.uint8)
    np.savez(tmp_path / 'test.npz', images=images, labels=np.arange(6) % 2, classes=['a', 'b'])
    data = dict(type='mmbss.ArrayDataset', data_file=str(tmp_path / 'test.npz'))
    loader = dict(batch_size=4, dataset=data, sampler=dict(type='DefaultSampler', shuffle=False))
    model = resnet_config(in_channels=3, num_classes=2)
    normalisation = dict(type='mmbss.AugmentingDataPreprocessor', mean=[120.0] * 3, std=[60.0] * 3)
    settings = dict(model=model, data_preprocessor=normalisation, test_dataloader=loader)
    checkpoint = tmp_path / 'student.pth'
    torch.save(dict(state_dict=build_model(model).state_dict()), checkpoint)
    return write_config(tmp_path / 'student.py', settings), checkpoint


def test_an_order_of_colours_that_nobody_says_is_said(call_tool, of_arrays, tmp_path, capsys):
    config, checkpoint = of_arrays
    image = tmp_path / 'colours.png'
    Image.fromarray(np.full((8, 8, 3), (255, 0, 0), np.uint8)).save(image)
    call_tool('predict', config, image, '--checkpoint', checkpoint)
    assert 'assumed: the colour channels are taken to be RGB' in capsys.readouterr().err


def test_a_table_that_cannot_be_written_whole_leaves_the_old_one(
    call_tool, digits_teacher, digits, tmp_path, monkeypatch, load_tool
):
    old = tmp_path / 'old.json'
    old.write_text('what was there')

    def full(predictions, file):
        file.write_text('half')
        raise OSError(errno.ENOSPC, 'No space left on device', str(file))

    tool = load_tool('predict')
    monkeypatch.setattr(tool, 'write_json', full)
    checkpoint = ['--checkpoint', digits_teacher['checkpoint']]
    arguments = ['predict.py', digits_teacher['config'], str(digits), '--json', str(old)]
    monkeypatch.setattr('sys.argv', [*arguments, *map(str, checkpoint)])
    with pytest.raises(SystemExit, match='what was there before is intact'):
        tool.main()
    assert old.read_text() == 'what was there'


@pytest.mark.parametrize(('goes_on', 'code'), [(False, 141), (True, 0)])
def test_a_reader_that_has_seen_enough_ends_it_or_is_left_alone(root, goes_on, code):
    path = root / 'tools' / 'predict.py'
    program = (
        'import importlib.util, time; '
        f'spec = importlib.util.spec_from_file_location("predict", {str(path)!r}); '
        'tool = importlib.util.module_from_spec(spec); spec.loader.exec_module(tool); '
        f'[tool.say("line", {goes_on}) for _ in range(3)]'
    )
    reader, writer = os.pipe()
    os.close(reader)
    ended = subprocess.run([sys.executable, '-c', program], stdout=writer, check=False, cwd=root)
    os.close(writer)
    assert ended.returncode == code
