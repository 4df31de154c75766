import pytest
import torch
from boundary_checks import all_attacked, check_training_step
from small_classifiers import CLASSIFIERS

from mmbss.teachers.classifiers import load_model_config


@pytest.mark.parametrize('name', CLASSIFIERS)
def test_any_classifier_is_a_student(
    name, make_distiller, make_teacher, make_batch, build_model, small_colour
):
    teacher = make_teacher(small_colour, favoured=0)
    distiller = make_distiller(
        CLASSIFIERS[name], teacher, favoured=0, boundary=all_attacked(num_steps=2)
    )
    check_training_step(distiller, make_batch([0] * 10, channels=3, size=32))
    plain = build_model(CLASSIFIERS[name])
    assert list(plain.state_dict()) == list(distiller.state_dict())


@pytest.mark.parametrize('name', CLASSIFIERS)
def test_any_classifier_is_a_teacher(name, make_distiller, make_teacher, make_batch, small_colour):
    teacher = make_teacher(CLASSIFIERS[name], favoured=0)
    distiller = make_distiller(
        small_colour, teacher, favoured=0, boundary=all_attacked(num_steps=2)
    )
    check_training_step(distiller, make_batch([0] * 10, channels=3, size=32))


@pytest.mark.parametrize('name', CLASSIFIERS)
def test_any_teacher_takes_a_batch_without_base_samples(
    name, make_distiller, make_teacher, make_batch, small_colour
):
    teacher = make_teacher(CLASSIFIERS[name], favoured=0)
    distiller = make_distiller(small_colour, teacher, favoured=1)
    losses = distiller.loss(*make_batch([0] * 4, channels=3, size=32))
    assert losses['bss_samples'] == 0
    assert losses['loss_bss'] == 0


def test_a_distilled_student_can_teach(make_distiller, make_teacher, resnet_config, tmp_path):
    first = make_distiller()
    torch.save(first.state_dict(), tmp_path / 'student.pth')
    config = dict(resnet_config(), type='mmbss.Distiller', teacher={}, losses={})
    second = make_distiller(teacher=dict(config=config, checkpoint=str(tmp_path / 'student.pth')))
    assert 'teacher' not in load_model_config(config)
    inputs = torch.randn(2, 1, 8, 8)
    torch.testing.assert_close(second.teacher(inputs), first.eval()(inputs))
