import numpy as np
import pytest
import torch
from mmpretrain.structures import DataSample

from mmbss.teachers.logit_cache import LogitCache, fingerprints, sample_rows

ROWS = [2, 3, 7, 11]


def samples(rows):
    return [DataSample(metainfo=dict(sample_idx=row)) for row in rows]


@pytest.fixture
def inputs():
    return {row: torch.randn(3, 4, 5) for row in ROWS}


@pytest.fixture
def logits():
    return {row: torch.randn(6) for row in ROWS}


@pytest.fixture
def cache(inputs, logits):
    return LogitCache(
        rows=torch.tensor(ROWS),
        logits=torch.stack([logits[row] for row in ROWS]),
        fingerprints=fingerprints(torch.stack([inputs[row] for row in ROWS])),
        teacher='me',
    )


@pytest.mark.parametrize('order', [ROWS, [11, 2, 7], [3, 3], [7]])
def test_every_sample_gets_its_own_logits_in_any_order(cache, inputs, logits, order):
    found = cache.look_up(torch.stack([inputs[row] for row in order]), samples(order))
    assert torch.equal(found, torch.stack([logits[row] for row in order]))


def test_an_empty_batch_has_no_logits(cache):
    assert sample_rows([]).dtype == torch.int64
    assert cache.look_up(torch.zeros(0, 3, 4, 5), []).shape == (0, 6)


@pytest.mark.parametrize('row', [0, 5, 12])
def test_a_sample_that_is_not_there_is_named(cache, inputs, row):
    batch = torch.stack([inputs[2], inputs[3]])
    with pytest.raises(ValueError, match=rf'lacks 1 of 2 samples .*sample_idx {row}\).*remove'):
        cache.look_up(batch, samples([2, row]))


@pytest.mark.parametrize(
    'change',
    [
        lambda x: x.flip(-1),
        lambda x: x.roll(1, dims=-1),
        lambda x: x.flip(0),
        lambda x: x.index_put((torch.tensor(1), torch.tensor(2), torch.tensor(3)), x.new_tensor(9)),
        lambda x: x + 1 / 78.6,
        lambda x: 0.9 * x + 0.1 * torch.randn_like(x),
        lambda x: -x,
    ],
)
def test_another_input_is_noticed(cache, inputs, change):
    batch = torch.stack([inputs[2], change(inputs[3]), inputs[7]])
    with pytest.raises(ValueError, match=r'1 of 3 inputs .*without augmentation'):
        cache.look_up(batch, samples([2, 3, 7]))


def test_a_change_by_one_grey_level_of_one_pixel_is_noticed():
    image = torch.randint(256, (1, 1, 28, 28)).float()
    before = fingerprints((image - 33.3) / 78.6)
    norm = ((image - 33.3) / 78.6).norm()
    image[0, 0, 14, 14] += 1
    assert (fingerprints((image - 33.3) / 78.6) - before).abs() > 2e-6 * norm


def test_rounding_is_not_taken_for_a_change(cache, inputs):
    batch = torch.stack([inputs[row] for row in ROWS])
    rounded = batch * (1 + 6e-8 * torch.randn_like(batch).sign())
    assert not torch.equal(batch, rounded)
    cache.look_up(rounded, samples(ROWS))


def test_fingerprints_are_the_written_sum(inputs):
    values = inputs[2].double().flatten().tolist()
    written = sum(value * np.cos(place) for place, value in enumerate(values, start=1))
    assert fingerprints(inputs[2][None]).item() == pytest.approx(written, abs=1e-12)
    assert fingerprints(inputs[2][None].bfloat16()).dtype == torch.float64


def test_samples_without_an_index_are_refused(cache, inputs):
    with pytest.raises(ValueError, match=r'sample_idx.*meta_keys of PackInputs'):
        cache.look_up(inputs[2][None], [DataSample()])


# ---------------------------------------------------------------- the file


def test_a_file_gives_back_what_was_saved(cache, tmp_path):
    path = tmp_path / 'new' / 'logits.npz'
    cache.save(path)
    loaded = LogitCache.load(path)
    for name in ('rows', 'logits', 'fingerprints'):
        assert torch.equal(getattr(loaded, name), getattr(cache, name))
        assert getattr(loaded, name).dtype == getattr(cache, name).dtype
    assert loaded.teacher == 'me'
    assert list(path.parent.iterdir()) == [path]


def write_other_arrays(path):
    np.savez(path, images=np.zeros(3))


def write_code(path):
    np.savez(path, rows=np.array([print], dtype=object))


def write_half(path):
    write_other_arrays(path)
    path.write_bytes(path.read_bytes()[:100])


def write_text(path):
    path.write_text('not an archive')


def write_nothing(path):
    path.write_bytes(b'')


@pytest.mark.parametrize(
    'write', [write_other_arrays, write_code, write_half, write_text, write_nothing]
)
def test_a_file_of_another_kind_is_refused(write, tmp_path):
    path = tmp_path / 'logits.npz'
    write(path)
    with pytest.raises(ValueError, match=r'logits\.npz is no cache of teacher logits'):
        LogitCache.load(path)
