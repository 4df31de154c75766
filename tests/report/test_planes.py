import pytest
import torch

from mmbss.engine.errors import ConfigError
from mmbss.report.networks import Networks
from mmbss.report.options import ReportOptions
from mmbss.report.planes import CLOSE_ATTACK, plane_pictures, third_points
from mmbss.report.report import build_report
from mmbss.visualization.boundary_pairs import find_boundary_pairs


def linear(weights):
    matrix = torch.tensor(weights)
    return lambda images: images.flatten(1) @ matrix.T


TEACHER = linear([[1.0, 0, 0, 0], [0, 1.0, 0, 0], [0, 0, 1.0, 0]])
STUDENT = linear([[1.0, 0, 0, 0], [0, 1.0, 0, 1.0], [0, 0, 1.0, 0]])


@pytest.fixture
def make():
    """Networks on images of four values, and their boundary samples."""

    def make(num_classes=3, **students):
        samples = torch.tensor([[3.0, 1, 0.5, 0], [0, 4.0, 2, 0]]).view(2, 1, 2, 2)
        networks = Networks(
            teacher=lambda images: TEACHER(images)[:, :num_classes],
            students={
                name: lambda images, ask=ask: ask(images)[:, :num_classes]
                for name, ask in students.items()
            },
            bounds=(-10.0, 10.0),
            samples=samples,
            labels=torch.tensor([0, 1]),
            classes=['cat', 'dog', 'eel'][:num_classes],
        )
        pairs = find_boundary_pairs(
            networks.teacher, samples, networks.labels, CLOSE_ATTACK, networks.bounds
        )
        return networks, pairs

    return make


def test_a_plane_through_two_classes_and_one_through_the_students_way(make):
    networks, pairs = make(kd=STUDENT)
    runner_up, mean = third_points(networks, pairs, 0)
    assert runner_up.name == 'boundary sample, eel'
    expected = torch.tensor([1.75, 1, 1.75, 0]).view(1, 2, 2)
    assert torch.allclose(runner_up.sample, expected, atol=0.02)
    assert mean.name == "students' boundary samples, dog"
    logits = STUDENT(mean.sample.unsqueeze(0))[0]
    assert logits[0].item() == pytest.approx(logits[1].item(), abs=0.02)


def test_students_share_a_plane_through_their_mean(make):
    other = linear([[1.0, 0, 0, 0], [0, 1.0, 0, -1.0], [0, 0, 1.0, 0]])
    networks, pairs = make(kd=STUDENT, bss=other)
    means = [list(third_points(*make(name=student), 0))[-1].sample for student in (STUDENT, other)]
    *_, both = third_points(networks, pairs, 0)
    assert torch.allclose(both.sample, (means[0] + means[1]) / 2)


def test_pictures_are_counted_and_described(make):
    pictures = plane_pictures(*make(kd=STUDENT), count=3, resolution=5)
    assert [picture.name for picture in pictures] == ['plane-1', 'plane-2', 'plane-3']
    assert (
        "class cat, the teacher's boundary sample of dog, and the teacher's" in pictures[0].caption
    )
    assert "the mean of the students' own boundary samples of dog" in pictures[1].caption
    assert pictures[2].alt.startswith('Decisions of teacher, kd on the plane through')


def test_two_classes_and_a_student_that_is_its_teacher_span_no_plane(make):
    assert plane_pictures(*make(2, kd=TEACHER), count=2, resolution=5) == []
    assert len(plane_pictures(*make(2, kd=STUDENT), count=2, resolution=5)) == 2


def test_a_plane_of_one_point_is_refused(tmp_path):
    with pytest.raises(ConfigError, match='resolution must be at least 2, got 1'):
        build_report(tmp_path, ReportOptions(resolution=1), 'command')
