import numpy as np
import pytest
from PIL import Image

from mmbss.engine.errors import ConfigError, MissingFileError
from mmbss.export import Predictor, find_images, load_predictor
from mmbss.export.image_files import why_unreadable
from mmbss.export.student import student_of


@pytest.fixture(scope='module')
def predictor(exported):
    return load_predictor(exported)


def test_an_exported_student_and_that_of_the_training_say_the_same(
    predictor, digits_teacher, digit_files
):
    right = student_of(predictor.model.cpu())(digit_files.pixels).argmax(1)
    exported = list(predictor(digit_files.files, top=2, batch_size=5))
    assert [each.ranked[0][0] for each in exported] == [f'digit {number}' for number in right]
    trained = list(load_predictor(*digits_teacher.values())(digit_files.files, top=2))
    assert [each.ranked[0][0] for each in trained] == [str(number) for number in right]
    for one, other in zip(exported, trained, strict=True):
        assert one.path == other.path
        scores = [[score for _, score in each.ranked] for each in (one, other)]
        np.testing.assert_allclose(*scores, atol=1e-6)
        assert scores[0][0] > scores[0][1]


def test_all_probabilities_sum_to_one(predictor, digit_files):
    (only,) = predictor(digit_files.files[:1], top=99)
    assert len(only.ranked) == 10
    assert sum(score for _, score in only.ranked) == pytest.approx(1)


def test_what_cannot_be_read_is_named_and_the_rest_goes_on(predictor, digit_files, tmp_path):
    (tmp_path / 'empty.png').write_bytes(b'')
    (tmp_path / 'text.png').write_text('no image')
    paths = [tmp_path / 'empty.png', digit_files.files[0], tmp_path / 'text.png']
    empty, good, text = predictor(paths)
    assert good.problem is None
    for each in (empty, text):
        assert each.ranked == ()
        assert each.path.name in each.problem
        assert '--resume' not in each.problem
        assert 'cannot identify image file' in each.problem
    assert [each.problem is None for each in predictor(paths[:1])] == [False]
    assert list(predictor([])) == []


def test_what_is_wrong_with_a_file_is_said_in_words(tmp_path, monkeypatch):
    cut, whole = tmp_path / 'cut.jpg', tmp_path / 'whole.jpg'
    Image.effect_noise((64, 64), 50).save(whole)
    cut.write_bytes(whole.read_bytes()[:900])
    assert why_unreadable(whole) == ''
    assert why_unreadable(cut).startswith(f'{cut}: image file is truncated')
    assert 'No such file' in why_unreadable(tmp_path / 'none.png')
    monkeypatch.setattr('mmcv.imfrombytes', lambda *args, **kwargs: None)
    assert why_unreadable(whole) == f'OpenCV, which pipelines read with, does not take {whole}'


def test_a_pipeline_that_fails_on_a_whole_image_says_its_own_reason(predictor, digit_files):
    transforms = [dict(type='CenterCrop', crop_size=9)]  # of an image that nothing has loaded
    bare = Predictor(predictor.model, transforms, predictor.classes)
    (only,) = bare(digit_files.files[:1])
    assert 'img' in only.problem
    assert 'OpenCV' not in only.problem


def test_images_of_several_sizes_do_not_change_each_other(predictor, digit_files, tmp_path):
    transforms = [dict(type='LoadImageFromFile', color_type='grayscale'), dict(type='PackInputs')]
    bare = Predictor(predictor.model, transforms, predictor.classes)
    paths = [*digit_files.files[:2], tmp_path / 'photo.png', digit_files.files[2]]
    Image.open(paths[1]).resize((12, 10)).save(paths[2])
    alone = [next(bare([path])) for path in paths]
    for one, other in zip(bare(paths), alone, strict=True):
        assert one.path == other.path
        assert dict(one.ranked) == pytest.approx(dict(other.ranked), abs=1e-5)


def test_images_are_found_in_folders_of_folders(tmp_path):
    for name in ('b/2.JPG', 'b/c/1.png', '.git/x.png', 'b/.y.png', 'note.txt', 'a.webp', 'b.GIF'):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    names = ['a.webp', 'b/2.JPG', 'b/c/1.png', 'b.GIF']
    found = find_images([tmp_path, tmp_path / 'b' / '2.JPG', tmp_path / 'note.txt'])
    assert found == [tmp_path / name for name in [*names, 'note.txt']]
    with pytest.raises(MissingFileError, match='none'):
        find_images([tmp_path / 'none'])
    with pytest.raises(ConfigError, match='device'):
        find_images(['/dev/zero'])
    (tmp_path / 'linked').mkdir()
    (tmp_path / 'linked' / 'b').symlink_to(tmp_path / 'b')
    (tmp_path / 'linked' / 'round').symlink_to(tmp_path / 'linked')
    assert find_images([tmp_path / 'linked']) == [
        tmp_path / 'linked' / name for name in ('b/2.JPG', 'b/c/1.png')
    ]
    (tmp_path / 'empty').mkdir()
    with pytest.raises(MissingFileError, match='no image'):
        find_images([tmp_path / 'empty'])


def test_a_model_that_is_not_whole_is_refused(exported, digits_teacher, tmp_path):
    with pytest.raises(ConfigError, match='--checkpoint'):
        load_predictor(exported, 'a.pth')
    with pytest.raises(ConfigError, match='--checkpoint'):
        load_predictor(digits_teacher['config'])
    (tmp_path / 'student.py').write_text((exported / 'student.py').read_text())
    with pytest.raises(MissingFileError, match='no weights'):
        load_predictor(tmp_path)
    with pytest.raises(ConfigError, match=r'student\.py'):
        load_predictor(tmp_path.parent)


@pytest.mark.parametrize(
    ('before', 'after', 'message'),
    [
        ("'digit 9',", '', '9 names of classes'),
        ("'digit 8'", "'digit 10'", r'trained on the classes .*student\.py names .*one export'),
        ('metainfo=', 'other=', 'metainfo'),
        ('pipeline=', 'other=', 'pipeline'),
        ('LoadImageFromFile', 'LoadNothing', 'LoadNothing'),
        ('depth=', 'dept=', 'dept'),
    ],
)
def test_a_config_that_was_edited_by_hand_is_checked(before, after, message, exported, tmp_path):
    text = (exported / 'student.py').read_text()
    assert before in text
    (tmp_path / 'student.py').write_text(text.replace(before, after))
    (tmp_path / 'student.pth').symlink_to(exported / 'student.pth')
    with pytest.raises(ConfigError, match=message):
        load_predictor(tmp_path)
