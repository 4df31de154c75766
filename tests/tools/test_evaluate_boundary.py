import json

import pytest
import torch


@pytest.fixture
def flags(digits_teacher):
    return ['--teacher', digits_teacher['config'], digits_teacher['checkpoint']]


def test_a_table_and_all_figures(
    call_tool, flags, digits_teacher, digits_student, tmp_path, capsys
):
    config, out = digits_teacher['config'], tmp_path / 'folder' / 'figures.json'
    (tmp_path / 'attacks.py').write_text(
        "boundary = dict(type='mmbss.BSSAttack', step='newton', step_size=0.9)\n"
        "robustness = dict(fgsm_9=dict(type='mmbss.FGSMAttack', radius=9.0))\n"
    )
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
    assert disturbed['boundary_similarity/ang_sim'] < 0.99
    assert disturbed['boundary_similarity/pairs'] < 50
    assert disturbed['accuracy/top1'] < teacher['accuracy/top1']
    assert 'robust_accuracy/fgsm_9' in disturbed
    assert 'robust_accuracy/pgd_1' not in disturbed

    rows = [line for line in capsys.readouterr().out.splitlines() if line.startswith('|')]
    head, _, *lines = [[cell.strip() for cell in row.split('|')[1:-1]] for row in rows]
    table = [dict(zip(head, line, strict=True)) for line in lines]
    assert [row['network'] for row in table] == ['teacher', 'disturbed', 'copy']
    assert table[1]['accuracy'] == f'{disturbed["accuracy/top1"]:.2f}'
    assert table[1]['MagSim'] == f'{disturbed["boundary_similarity/mag_sim"]:.3f}'
    assert table[1]['fgsm_9'] == f'{disturbed["robust_accuracy/fgsm_9"]:.1f}'
    assert table[1]["teacher's distance"] == f'{disturbed["boundary_distance/teacher"]:.4f}'


@pytest.mark.parametrize(
    ('change', 'message'),
    [
        (['--students', 'CONFIG'], '--students takes a config and a checkpoint for each'),
        (['--names', 'a', 'b'], '--names must give each of the 1 students a name'),
        (['--names', 'teacher'], 'none "teacher"'),
        (['--students', 'CONFIG', 'gone.pth'], r"gone\.pth: no checkpoint 'gone\.pth'"),
        (['--students', 'gone.py', 'STUDENT'], r"no file 'gone\.py'"),
        (['--teacher', 'CONFIG', 'gone.pth'], r"teacher: no checkpoint 'gone\.pth'"),
        (['--num-samples', '0'], 'num_samples must be at least 1'),
    ],
)
def test_bad_input_ends_with_one_clear_message(
    change, message, call_tool, flags, digits_teacher, digits_student
):
    paths = dict(CONFIG=digits_teacher['config'], STUDENT=digits_student)
    change = [paths.get(word, word) for word in change]
    students = ['--students', digits_teacher['config'], digits_student]
    with pytest.raises(SystemExit, match=rf'^error: .*{message}'):
        call_tool('evaluate_boundary', *flags, *students, *change)


def test_networks_without_a_common_boundary_end_with_one_clear_message(
    call_tool, flags, digits_teacher, digits_student, tmp_path
):
    state = torch.load(digits_student)['state_dict']
    state['head.fc.bias'] += 1000 * torch.eye(10)[3]
    torch.save(state, tmp_path / 'stuck.pth')
    with pytest.raises(SystemExit, match=r'^error: stuck: of .* none was moved onto the boundary'):
        call_tool(
            *('evaluate_boundary', *flags, '--names', 'stuck', '--num-samples', 20),
            *('--students', digits_teacher['config'], tmp_path / 'stuck.pth'),
        )


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
