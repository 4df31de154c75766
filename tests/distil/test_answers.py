import numpy as np
import pytest
from mmengine.config import Config

from mmbss.distil.answers import ask


@pytest.mark.parametrize('split', ['val', 'test'])
def test_each_student_sees_images_as_it_was_trained(digits_teacher, write_config, tmp_path, split):
    config = Config.fromfile(digits_teacher['config'])
    dark = dict(config.data_preprocessor, mean=[0.0], std=[2000.0])
    content = dict(config.to_dict(), data_preprocessor=dark)
    other = dict(digits_teacher, config=str(write_config(tmp_path / 'dark.py', content)))
    both, teacher = ask(config, split, dict(a=digits_teacher, b=other), digits_teacher)
    alone = ask(config, split, dict(b=other), digits_teacher)[0]['b']
    assert np.array_equal(both['b'].decisions, alone.decisions)
    assert not np.array_equal(both['a'].decisions, alone.decisions)
    assert np.array_equal(both['a'].decisions, teacher.decisions)
