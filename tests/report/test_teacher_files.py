import pytest

from mmbss.report.teacher_files import digest_of_teachers


@pytest.mark.parametrize('scheme', ['hf', 'timm'])
def test_a_folder_is_known_by_what_lies_in_it(scheme, tmp_path):
    teacher = dict(config=f'{scheme}:{tmp_path}')
    assert digest_of_teachers([teacher]) is None
    for name in ('config.json', 'model.safetensors'):
        (tmp_path / name).write_text('1')
    before = digest_of_teachers([teacher])
    assert before == digest_of_teachers([teacher]) is not None
    (tmp_path / 'model.safetensors').write_text('2')
    assert digest_of_teachers([teacher]) != before


def test_weights_are_known_wherever_they_lie(tmp_path):
    one, other, onnx = (tmp_path / name for name in ('one.pth', 'other.pth', 'teacher.onnx'))
    for path in (one, other, onnx):
        path.write_text('1')
    digests = {
        digest_of_teachers([each])
        for each in (
            dict(config=dict(), checkpoint=str(one)),
            dict(config=[dict(config=dict(), checkpoint=str(other))]),
            dict(config=f'onnx:{onnx}'),
            dict(config=str(onnx)),
        )
    }
    assert len(digests) == 1
    assert None not in digests
