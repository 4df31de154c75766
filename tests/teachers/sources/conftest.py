"""Images, and teachers of a student that sees them as RGB."""

import numpy as np
import pytest
import torch
from mmpretrain.models.utils import ClsDataPreprocessor
from torch import nn

from mmbss.teachers.teacher import Teacher

#: Of a student, unlike that of any library.
MEAN, STD = [120.0, 110.0, 100.0], [60.0, 61.0, 62.0]


@pytest.fixture
def pixels():
    """(4, H, W, 3) uint8 of a size, smooth enough to look like images."""

    def make(size):
        drawn = torch.rand(4, 3, 8, 8)
        smooth = nn.functional.interpolate(drawn, (size, size), mode='bicubic')
        return (255 * smooth.clamp(0, 1)).byte().permute(0, 2, 3, 1).contiguous().numpy()

    return make


@pytest.fixture
def make_teacher():
    """A teacher of a student that gets RGB images."""

    def make(config, **keys):
        # the order of what is read from files is turned before, as in ``to_student``
        preprocessor = ClsDataPreprocessor(mean=MEAN, std=STD, to_rgb=True)
        return Teacher(config, student_preprocessor=preprocessor, **keys)

    return make


@pytest.fixture
def to_student():
    """Images as a student sees them: (N, 3, H, W), normalised."""

    def convert(pixels):
        images = torch.from_numpy(np.ascontiguousarray(pixels)).permute(0, 3, 1, 2).float()
        mean, std = (torch.tensor(each).view(-1, 1, 1) for each in (MEAN, STD))
        return (images - mean) / std

    return convert


@pytest.fixture
def draw():
    """Give a module weights and statistics that no other has, in eval mode."""

    def fill(module):
        with torch.no_grad():
            for buffer in module.buffers():
                if buffer.is_floating_point():
                    buffer.uniform_(0.5, 1.5)
            for parameter in module.parameters():
                if parameter.ndim == 1:
                    parameter.uniform_(0.5, 1.5)
        return module.eval()

    return fill
