import json

import numpy as np
import pytest

from mmbss.datasets import Digits


@pytest.fixture
def data(tmp_path):
    path = tmp_path / 'digits.npz'
    np.savez(path, **Digits('test').load_arrays())
    return path


def test_every_network_is_attacked_on_the_same_images(forked, root, digits_teacher, data, tmp_path):
    pytest.importorskip('foolbox')
    out = tmp_path / 'out.json'
    network = ('--network', digits_teacher['config'], digits_teacher['checkpoint'])
    completed = forked(
        *(root / 'benchmarks' / 'defensive_distillation.py', *network, '--data', data),
        *('--num-samples', 4, '--cw-steps', 40, '--out', out),
    )
    lines = completed.stdout.splitlines()
    assert lines[0] == '4 images'
    assert lines[-1].startswith('| teacher |')
    (row,) = json.loads(out.read_text())['table'].values()
    assert 0 < row['errors'] < 108
    assert row['saturated'] == 0
    assert 0 < row['cw']['success'] <= 1
    assert 0 < row['cw']['distance'] < 4
    # nothing saturates here, so both Jacobians lead somewhere
    for name in ('jsma_softmax', 'jsma_logits'):
        assert 0 < row[name]['success'] <= 1
        assert 0 < row[name]['changed'] <= 0.145
