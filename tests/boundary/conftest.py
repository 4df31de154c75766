import pytest
import torch
from boundary_checks import all_attacked


@pytest.fixture
def trained_pair(make_distiller, digits_teacher, resnet_config, digits_batch):
    """A trained teacher, and a student that is its noisy twin: both are right on most digits."""

    def make(**boundary):
        student = resnet_config(width=8, data_preprocessor=dict(mean=[77.9], std=[95.9]))
        settings = dict(all_attacked(num_steps=10, step_size=0.3), num_base_samples=32)
        distiller = make_distiller(student, digits_teacher, boundary=dict(settings, **boundary))
        distiller.load_state_dict(distiller.teacher.network.state_dict())
        with torch.no_grad():
            distiller.head.fc.weight += 0.1 * torch.randn_like(distiller.head.fc.weight)
        return distiller, digits_batch

    return make
