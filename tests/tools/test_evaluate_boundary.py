import json
import re
import shutil
from pathlib import Path

import pytest
import torch
from mmengine.config import Config

from mmbss.report.evaluation import AUTOATTACK


@pytest.fixture
def flags(digits_teacher):
    return ['--teacher', digits_teacher['config'], digits_teacher['checkpoint']]


@pytest.fixture
def attacks(tmp_path):
    """A config of attacks that take next to no time."""
    path = tmp_path / 'attacks.py'
    path.write_text(
        "boundary = dict(type='mmbss.NewtonAttack', step_size=0.9)\n"
        'from mmbss.attacks import FGSMAttack\n'
        'robustness = dict(fgsm_9=dict(type=FGSMAttack, radius=9.0))\n'
    )
    return path


def test_a_table_and_all_figures(
    call_tool, flags, attacks, digits_teacher, digits_student, tmp_path, capsys
):
    config, out = digits_teacher['config'], tmp_path / 'folder' / 'figures.json'
    call_tool(
        *('evaluate_boundary', *flags, '--students', config, digits_student),
        *(config, digits_teacher['checkpoint'], '--names', 'disturbed', 'copy'),
        *('--num-samples', 50, '--seed', 3, '--attacks', tmp_path / 'attacks.py', '--out', out),
    )
    result = json.loads(out.read_text())
    assert result['settings']['num_samples'] == 50
    assert result['settings']['dataset_size'] == 540
    teacher, disturbed, copied = (network['metrics'] for network in result['networks'])
    assert [network['name'] for network in result['networks']] == ['teacher', 'disturbed', 'copy']
    assert result['networks'][1]['checkpoint'] == str(digits_student)
    assert copied == teacher
    assert teacher['agreement/top1'] == 100
    assert teacher['agreement/kl'] == pytest.approx(0, abs=1e-6)
    assert teacher['boundary_similarity/ang_sim'] == pytest.approx(1)
    assert teacher['transition/error'] == pytest.approx(0, abs=1e-6)
    assert teacher['boundary_visibility/seen'] == pytest.approx(100)
    assert disturbed['boundary_similarity/ang_sim'] < 0.99
    assert disturbed['boundary_similarity/pairs'] < 50
    assert disturbed['accuracy/top1'] < teacher['accuracy/top1']
    assert 'robust_accuracy/fgsm_9' in disturbed
    assert 'robust_accuracy/pgd_1' not in disturbed

    rows = [line for line in capsys.readouterr().out.splitlines() if line.startswith('|')]
    head, _, *lines = [[cell.strip() for cell in row.split('|')[1:-1]] for row in rows]
    assert head == ['metric', 'teacher', 'disturbed', 'copy']
    table = {line[0]: line[2] for line in lines}
    assert table['accuracy (%)'] == f'{disturbed["accuracy/top1"]:.2f}'
    assert table['MagSim'] == f'{disturbed["boundary_similarity/mag_sim"]:.3f}'
    assert table['transition error'] == f'{disturbed["transition/error"]:.3f}'
    corrupted = f'{disturbed["corruption_accuracy/jpeg"]:.1f}'
    assert table['accuracy under jpeg (%)'] == corrupted
    assert table['accuracy under fgsm_9 (%)'] == f'{disturbed["robust_accuracy/fgsm_9"]:.1f}'
    distance = f'{disturbed["boundary_distance/teacher"]:.4f}'
    assert table["the teacher's to its own, same samples"] == distance


def test_the_runs_of_a_comparison_are_averaged(
    call_tool, attacks, bss_run, digits_teacher, tmp_path, capsys
):
    for seed in (0, 1):
        shutil.copytree(bss_run.folder, tmp_path / 'runs' / 'bss_x' / f'seed_{seed}')
    plain = tmp_path / 'runs' / 'plain_x' / 'seed_0'
    shutil.copytree(Path(digits_teacher['checkpoint']).parent, plain)
    call_tool(
        *('evaluate_boundary', '--runs', tmp_path / 'runs', '--num-samples', 20),
        *('--attacks', attacks, '--out', tmp_path / 'boundary.json'),
    )
    networks = json.loads((tmp_path / 'boundary.json').read_text())['networks']
    names = ['teacher', 'bss, seed_0', 'bss, seed_1', 'plain, seed_0']
    assert [network['name'] for network in networks] == names
    assert [network.get('experiment') for network in networks] == [None, 'bss', 'bss', 'plain']
    out = capsys.readouterr().out
    assert '| metric | teacher | bss | plain |' in out
    teacher, student = (networks[place]['metrics']['accuracy/top1'] for place in (0, 1))
    assert f'| accuracy (%) | {teacher:.2f} | {student:.2f} ± 0.00 | {teacher:.2f} |' in out


@pytest.mark.parametrize('tool', ['evaluate_boundary', 'report'])
def test_runs_that_are_tested_on_other_samples_have_no_common_table(
    tool, call_tool, bss_run, tmp_path
):
    for seed in (0, 1):
        shutil.copytree(bss_run.folder, tmp_path / 'runs' / 'bss_x' / f'seed_{seed}')
    for config in (tmp_path / 'runs' / 'bss_x' / 'seed_1').rglob('*.py'):
        other = Config.fromfile(config)
        other.test_dataloader.dataset.indices = 30
        other.dump(str(config))
    flags = ['--runs'] if tool == 'evaluate_boundary' else []
    with pytest.raises(SystemExit, match=r'seed_1 is not tested on .*\(test_dataloader\.dataset'):
        call_tool(tool, *flags, tmp_path / 'runs')


def test_what_is_measured_is_stored_after_each_network(
    call_tool, flags, attacks, digits_teacher, digits_student, tmp_path, monkeypatch
):
    def fail(*args):
        if evaluated:
            raise KeyboardInterrupt
        evaluated.append(args)
        return {}

    evaluated, out = [], tmp_path / 'figures.json'
    monkeypatch.setattr('mmbss.report.evaluation.evaluate_model', fail)
    students = ['--students', digits_teacher['config'], digits_student]
    with pytest.raises(KeyboardInterrupt):
        call_tool('evaluate_boundary', *flags, *students, '--out', out)
    assert [each['name'] for each in json.loads(out.read_text())['networks']] == ['teacher']


def test_autoattack_gets_samples_of_its_own(
    call_tool, flags, attacks, digits_teacher, digits_student, tmp_path, monkeypatch, capsys
):
    pytest.importorskip('pyautoattack')
    # the whole of it takes minutes
    monkeypatch.setitem(AUTOATTACK['radius_1'], 'name', 'apgd-ce')
    call_tool(
        *('evaluate_boundary', *flags, '--students', digits_teacher['config'], digits_student),
        *('--num-samples', 10, '--autoattack', 12, '--attacks', attacks),
        *('--out', tmp_path / 'boundary.json'),
    )
    result = json.loads((tmp_path / 'boundary.json').read_text())
    assert result['settings']['autoattack_samples'] == 12
    _, student = (network['metrics'] for network in result['networks'])
    assert student['autoattack/clean'] * 12 / 100 == pytest.approx(
        round(student['autoattack/clean'] * 12 / 100)
    )
    assert student['autoattack/radius_1'] <= student['autoattack/clean']
    assert 'accuracy under autoattack, radius_1 (%)' in capsys.readouterr().out


@pytest.mark.parametrize(
    ('change', 'message'),
    [
        (['--students', 'CONFIG'], '--students takes a config and a checkpoint for each'),
        (['--names', 'a', 'b'], '--names must give each of the 1 students a name'),
        (['--names', 'teacher'], 'none "teacher"'),
        (['--students', 'CONFIG', 'gone.pth'], r"gone\.pth: no file 'gone\.pth'"),
        (['--students', 'gone.py', 'STUDENT'], r"no file 'gone\.py'"),
        (['--teacher', 'CONFIG', 'gone.pth'], r"teacher\.checkpoint: no file 'gone\.pth'"),
        (['--num-samples', '0'], 'num_samples must be at least 1'),
        (['--num-tested', '-1'], 'take more'),
        (['--autoattack', '-1'], 'num_samples must be at least 1'),
        (['--runs', 'gone'], '--runs takes the place of .*--teacher'),
        (['--attacks', 'gone.py'], r'config gone\.py: .*No such file'),
        (['--attacks', 'gone'], 'config gone: '),
        (['--attacks', 'MISSPELT'], "has no key 'boundry', did you mean 'boundary'"),
        (['--attacks', 'NONE'], 'attacks'),
    ],
)
def test_bad_input_ends_with_one_clear_message(
    change, message, call_tool, flags, digits_teacher, digits_student, tmp_path
):
    paths = dict(CONFIG=digits_teacher['config'], STUDENT=digits_student)
    for name, text in dict(MISSPELT='steps = 3\nboundry = {}', NONE='robustness = {}').items():
        paths[name] = tmp_path / f'{name}.py'
        paths[name].write_text(text)
    change = [paths.get(word, word) for word in change]
    students = ['--students', digits_teacher['config'], digits_student]
    with pytest.raises(SystemExit, match=rf'^error: .*{message}'):
        call_tool('evaluate_boundary', *flags, *students, *change)


def test_networks_or_runs_are_needed(call_tool, flags, tmp_path):
    with pytest.raises(SystemExit, match=r'^error: give --runs, or both --teacher and --students'):
        call_tool('evaluate_boundary', *flags)
    with pytest.raises(SystemExit, match=r'^error: no folder .*gone'):
        call_tool('evaluate_boundary', '--runs', tmp_path / 'gone')


def test_runs_without_a_teacher_are_refused(call_tool, digits_teacher):
    with pytest.raises(SystemExit, match=r'^error: .* but the experiments have none'):
        call_tool('evaluate_boundary', '--runs', Path(digits_teacher['checkpoint']).parent)


def test_classes_that_differ_are_refused(
    call_tool, flags, build_model, resnet_config, run_settings, write_config, tmp_path
):
    model = resnet_config(num_classes=7)
    config = write_config(tmp_path / 'seven.py', run_settings(tmp_path, model))
    torch.save(build_model(model).state_dict(), tmp_path / 'seven.pth')
    with pytest.raises(SystemExit, match=r'^error: .*student has 7 classes, the teacher 10'):
        call_tool('evaluate_boundary', *flags, '--students', config, tmp_path / 'seven.pth')


def test_a_missing_autoattack_is_named_before_anything_is_measured(
    call_tool, flags, digits_teacher, digits_student, monkeypatch
):
    monkeypatch.setattr('importlib.util.find_spec', lambda name: None)
    with pytest.raises(SystemExit, match=r"^error: .*not installed: pip install 'pyautoattack"):
        call_tool(
            *('evaluate_boundary', *flags, '--autoattack', 5),
            *('--students', digits_teacher['config'], digits_student),
        )


def test_a_network_without_a_common_boundary_gets_blanks_and_a_note(
    call_tool, flags, digits_teacher, digits_student, tmp_path, capsys
):
    state = torch.load(digits_student)['state_dict']
    state['head.fc.bias'] += 1000 * torch.eye(10)[3]
    torch.save(state, tmp_path / 'stuck.pth')
    call_tool(
        *('evaluate_boundary', *flags, '--names', 'stuck', 'fine', '--num-samples', 20),
        *('--students', digits_teacher['config'], tmp_path / 'stuck.pth'),
        *(digits_teacher['config'], digits_student),
    )
    out = capsys.readouterr().out
    assert re.search(r'\| MagSim \| 1\.000 \|  \| 0\.\d+ \|', out)
    assert re.search(r'\| accuracy \(%\) \| [\d.]+ \| [\d.]+ \| [\d.]+ \|', out)
    assert re.search(r'MagSim and AngSim are missing .*: stuck \(of \d+\)', out)
    assert 'fine (' not in out


def test_another_network_is_refused_by_its_name(
    call_tool, flags, digits_student, resnet_config, write_config, tmp_path
):
    config = write_config(tmp_path / 'other.py', dict(model=resnet_config(width=4)))
    with pytest.raises(SystemExit, match=r'^error: .*student\.pth does not fit .*other\.py'):
        call_tool('evaluate_boundary', *flags, '--students', config, digits_student)


def test_a_config_without_test_data_is_refused(
    call_tool, flags, digits_student, resnet_config, write_config, tmp_path
):
    config = write_config(tmp_path / 'bare.py', dict(model=resnet_config(width=8)))
    with pytest.raises(SystemExit, match='no test_dataloader: give --data-config'):
        call_tool(
            *('evaluate_boundary', *flags, '--students', config, digits_student),
            *('--data-config', config),
        )


CLOSED = """
import torch

WEIGHT = torch.linspace(-1, 1, 640).view(64, 10).sin()

def answer(images):
    return torch.from_numpy((images.flatten(1).detach() @ WEIGHT).numpy())

answer.differentiable = False
"""


def test_a_teacher_from_elsewhere_without_gradient(
    call_tool, digits_teacher, digits_student, tmp_path, monkeypatch, capsys
):
    (tmp_path / 'elsewhere.py').write_text(CLOSED)
    monkeypatch.syspath_prepend(str(tmp_path))
    call_tool(
        *('evaluate_boundary', '--teacher', 'python:elsewhere:answer'),
        *('--teacher-options', 'mean=[0.0]', 'std=[255.0]'),
        *('--students', digits_teacher['config'], digits_student, '--names', 'student'),
        *('--num-samples', 20, '--autoattack', 0, '--out', tmp_path / 'figures.json'),
    )
    result = json.loads((tmp_path / 'figures.json').read_text())
    teacher, student = (network['metrics'] for network in result['networks'])
    assert result['networks'][0]['mean'] == [0.0]
    assert result['settings']['attack'] == dict(type='mmbss.SegmentAttack')
    assert teacher['agreement/top1'] == 100
    assert 'corruption_accuracy/mean' in teacher
    assert not [name for name in teacher if name.startswith(('robust', 'transition', 'boundary_d'))]
    assert 'robust_accuracy/pgd_1' in student
    assert 'transition/error' in student
    assert not [name for name in student if name.startswith(('boundary_d', 'boundary_s'))]
    assert '| accuracy (%) |' in capsys.readouterr().out


def test_a_folder_to_write_to_is_refused_before_all(call_tool, flags, tmp_path, capsys):
    with pytest.raises(SystemExit):
        call_tool('evaluate_boundary', *flags, '--out', tmp_path)
    assert f'{tmp_path} is a folder: name a file in it' in capsys.readouterr().err


@pytest.mark.parametrize(
    ('changes', 'message'),
    [
        (dict(dataset_meta=dict(classes=tuple('9876543210'))), 'another order'),
        (dict(fingerprint={'data_preprocessor.mean': '[3.0]'}), r'trained with mean=\[3\]'),
    ],
)
def test_a_student_of_other_classes_or_another_normalisation_is_refused(
    changes, message, call_tool, flags, attacks, digits_teacher, tmp_path
):
    content = torch.load(digits_teacher['checkpoint'])
    content['meta'].update(changes)
    torch.save(content, tmp_path / 'student.pth')
    students = [digits_teacher['config'], tmp_path / 'student.pth']
    with pytest.raises(SystemExit, match=message):
        call_tool('evaluate_boundary', *flags, '--students', *students, '--attacks', attacks)
