import io
import zipfile

import numpy as np
import pytest
import torch
from mmengine.logging import HistoryBuffer, MessageHub
from mmengine.runner import save_checkpoint

from mmbss.engine.files.checkpoint_reading import read_checkpoint
from mmbss.engine.repairs.history_buffers import from_plain


def mmengines_state():
    """What mmengine stores without the repair."""
    history = HistoryBuffer([1.0, 2.5], [1, 2], max_length=10)
    return dict(
        log_scalars=dict(loss=history),
        runtime_info=dict(best_score=np.float64(1.5), iter=3),
        resumed_keys=dict(loss=True, best_score=True, iter=True),
    )


def hub(name):
    result = MessageHub.get_instance(name)
    result._log_scalars.clear()
    result._runtime_info.clear()
    return result


def check(hub):
    values, counts = hub.log_scalars['loss'].data
    np.testing.assert_array_equal(values, [1.0, 2.5])
    np.testing.assert_array_equal(counts, [1, 2])
    assert hub.log_scalars['loss'].max_length == 10
    hub.update_scalar('loss', 4.0)
    assert hub.log_scalars['loss'].mean(1) == 4.0
    assert type(hub.get_info('best_score')) is float


def test_a_hub_is_stored_without_numpy_and_restored(tmp_path):
    first = hub('first')
    first.load_state_dict(mmengines_state())
    save_checkpoint(dict(message_hub=first.state_dict()), str(tmp_path / 'a.pth'))
    assert torch.serialization.get_unsafe_globals_in_checkpoint(tmp_path / 'a.pth') == []
    for state in (torch.load(tmp_path / 'a.pth'), read_checkpoint(tmp_path / 'a.pth')):
        second = hub('second')
        second.load_state_dict(state['message_hub'])
        check(second)


@pytest.mark.parametrize('legacy', [False, True])
@pytest.mark.parametrize('module', [b'numpy._core.multiarray', b'numpy.core.multiarray'])
def test_what_mmengine_stored_before_is_read(tmp_path, module, legacy):
    """NumPy 1 and 2 give their functions other names."""
    content = io.BytesIO()
    state = dict(message_hub=mmengines_state(), state_dict=dict(a=torch.ones(2)))
    torch.save(state, content, _use_new_zipfile_serialization=not legacy)
    content.seek(0)
    path = tmp_path / 'a.pth'
    if legacy:
        path.write_bytes(content.read().replace(b'numpy._core.multiarray', module))
    else:
        with zipfile.ZipFile(content) as old, zipfile.ZipFile(path, 'w') as new:
            for name in old.namelist():
                new.writestr(name, old.read(name).replace(b'numpy._core.multiarray', module))
    read = hub('third')
    read.load_state_dict(read_checkpoint(path)['message_hub'])
    np.testing.assert_array_equal(read.log_scalars['loss'].data[0], [1.0, 2.5])
    assert read.get_info('best_score') == 1.5
    check(read)


@pytest.mark.parametrize(
    'change',
    [
        dict(log_history=torch.zeros(1)),
        dict(log_history=torch.zeros(2, 1)),
        dict(log_history=[1.0, 2.0]),
        dict(count_history=None),
        dict(count_history=torch.zeros(2, dtype=torch.complex64)),
        dict(max_length=None),
        dict(max_length=0),
        dict(max_length='9'),
    ],
)
def test_a_damaged_history_is_refused(change):
    history = dict(log_history=torch.zeros(2), count_history=torch.ones(2), max_length=9)
    assert len(from_plain(history, HistoryBuffer).data[0]) == 2
    with pytest.raises(ValueError, match='is damaged'):
        from_plain(dict(history, **change), HistoryBuffer)


def test_a_history_keeps_its_own_copy():
    stored = dict(log_history=torch.zeros(2), count_history=torch.ones(2), max_length=9)
    from_plain(stored, HistoryBuffer).data[0][:] = 5
    assert not stored['log_history'].any()
