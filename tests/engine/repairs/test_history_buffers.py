import os
import pickle
import zipfile

import numpy as np
import pytest
import torch
from mmengine.logging import HistoryBuffer

from mmbss.engine.repairs import history_buffers


def history():
    return HistoryBuffer([1.0, 2.0], [1, 1])


def test_mmengines_checkpoints_are_read_with_weights_only(tmp_path):
    content = dict(
        state_dict={'a': torch.ones(2)},
        message_hub=dict(log_scalars=dict(loss=history()), runtime_info=dict(x=np.float64(1.5))),
        other=[np.arange(3), np.int64(4), np.zeros(2)],
    )
    torch.save(content, tmp_path / 'epoch.pth')
    read = torch.load(tmp_path / 'epoch.pth', weights_only=True)
    assert read['message_hub']['log_scalars']['loss'].current() == 2.0
    assert read['message_hub']['runtime_info']['x'] == 1.5
    np.testing.assert_array_equal(read['other'][0], np.arange(3))


def test_checkpoints_written_under_numpy_1_are_read(tmp_path):
    torch.save(dict(loss=history()), tmp_path / 'new.pth')
    with (
        zipfile.ZipFile(tmp_path / 'new.pth') as new,
        zipfile.ZipFile(tmp_path / 'old.pth', 'w') as old,
    ):
        for name in new.namelist():
            content = new.read(name)
            if name.endswith('data.pkl'):
                assert b'numpy._core.multiarray' in content
                content = content.replace(b'numpy._core.multiarray', b'numpy.core.multiarray')
            old.writestr(name, content)
    assert torch.load(tmp_path / 'old.pth', weights_only=True)['loss'].current() == 2.0


def test_without_the_repair_they_are_refused(tmp_path):
    torch.save(dict(loss=history()), tmp_path / 'epoch.pth')
    allowed = torch.serialization.get_safe_globals()
    torch.serialization.clear_safe_globals()
    try:
        with pytest.raises(pickle.UnpicklingError):
            torch.load(tmp_path / 'epoch.pth', weights_only=True)
        history_buffers.repair(torch)
        torch.load(tmp_path / 'epoch.pth', weights_only=True)
    finally:
        torch.serialization.add_safe_globals(allowed)


class CallsSystem:
    def __reduce__(self):
        return os.system, ('true',)


def test_anything_else_stays_refused(tmp_path):
    torch.save(dict(a=CallsSystem()), tmp_path / 'evil.pth')
    with pytest.raises(pickle.UnpicklingError):
        torch.load(tmp_path / 'evil.pth', weights_only=True)


class LooksUp:
    def __init__(self, owner, name):
        self.arguments = owner, name

    def __reduce__(self):
        return getattr, self.arguments


class CallsEval:
    """Calls ``eval`` by way of a function of torch that every checkpoint may call."""

    def __reduce__(self):
        look_up = LooksUp(LooksUp(getattr, '__self__'), 'eval')
        return torch._tensor._rebuild_from_type_v2, (look_up, torch.Tensor, ('1 / 0',), {})


@pytest.mark.parametrize(
    'content',
    [
        CallsEval(),
        LooksUp(getattr, '__self__'),
        LooksUp(HistoryBuffer, 'update'),
        LooksUp(np.ndarray, 'mean'),
    ],
    ids=['eval', 'builtins', 'update', 'ndarray'],
)
def test_no_other_attribute_is_looked_up(tmp_path, content):
    torch.save(dict(a=content), tmp_path / 'evil.pth')
    with pytest.raises(pickle.UnpicklingError, match='may not look up'):
        torch.load(tmp_path / 'evil.pth', weights_only=True)
