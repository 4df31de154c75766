"""Files of anyone: nothing in them runs, what is wrong is said in one line, nothing changes."""

import hashlib
import io
import pickle
import struct
import tarfile
import zipfile
from argparse import Namespace
from contextlib import contextmanager

import numpy as np
import pytest
import torch
from mmengine.logging import HistoryBuffer
from mmengine.runner import checkpoint
from mmengine.runner.checkpoint import CheckpointLoader
from safetensors.torch import save_file

from mmbss.datasets import ArrayDataset
from mmbss.engine.errors import readable_errors
from mmbss.engine.files.arrays import read_arrays
from mmbss.engine.files.checkpoint_reading import read_checkpoint
from mmbss.engine.repairs import checkpoint_loading
from mmbss.report import bias_shift
from mmbss.studies.classifiers import load_classifier
from mmbss.teachers.logit_cache import LogitCache
from mmbss.teachers.sources.weights import load_weights


class RunsCode:
    """A pickle that creates a file where it is loaded."""

    def __init__(self, marker):
        self.marker = marker

    def __reduce__(self):
        return open, (str(self.marker), 'w')


def text(value):
    encoded = value.encode()
    return b'X' + struct.pack('<I', len(encoded)) + encoded


def code_through_getattr(marker):
    """A pickle that gets at ``exec`` with nothing but classes that checkpoints need.

    ``getattr.__self__`` is the module ``builtins``; ``exec`` from there becomes the
    ``__setstate__`` of a ``HistoryBuffer``, which is called with the next state.
    """
    attribute = b'c__builtin__\ngetattr\n'
    builtins = attribute + attribute + text('__self__') + b'\x86R'
    execute = attribute + builtins + text('exec') + b'\x86R'
    buffer = b'cmmengine.logging.history_buffer\nHistoryBuffer\n)\x81'
    state = b'}' + text('__setstate__') + execute + b's'
    return b'\x80\x02' + buffer + state + b'b' + text(f'open({str(marker)!r}, "w")') + b'b.'


def write_getattr(marker, path):
    content = io.BytesIO()
    torch.save(dict(a=1), content)
    with zipfile.ZipFile(content) as old, zipfile.ZipFile(path, 'w') as new:
        for name in old.namelist():
            is_pickle = name.endswith('data.pkl')
            new.writestr(name, code_through_getattr(marker) if is_pickle else old.read(name))


def write_tar(marker, path):
    with tarfile.open(path, 'w') as tar:
        for name in ('pickle', 'storages', 'tensors'):
            member = tarfile.TarInfo(name)
            content = pickle.dumps(RunsCode(marker))
            member.size = len(content)
            tar.addfile(member, io.BytesIO(content))


def write_numpy(marker, path):
    with path.open('wb') as file:
        np.savez(file, images=np.array([RunsCode(marker)], dtype=object))


# each would create the marker if it were loaded without care, as the last test of these shows
HOSTILE = dict(
    zip=lambda marker, path: torch.save(dict(state_dict=RunsCode(marker)), path),
    legacy=lambda marker, path: torch.save(
        dict(state_dict=RunsCode(marker)), path, _use_new_zipfile_serialization=False
    ),
    pickle=lambda marker, path: path.write_bytes(pickle.dumps(dict(state_dict=RunsCode(marker)))),
    getattr=write_getattr,
    tar=write_tar,
    numpy=write_numpy,
)


def write_scripted(path):
    torch.jit.script(torch.nn.Linear(2, 2)).save(str(path))


# none of these runs anything, and none is a checkpoint
FOREIGN = dict(
    empty=lambda path: path.write_bytes(b''),
    text=lambda path: path.write_text('<html>404 Not Found</html>'),
    picture=lambda path: path.write_bytes(b'\x89PNG\r\n\x1a\n' + bytes(range(256))),
    zip=lambda path: zipfile.ZipFile(path, 'w').close(),
    arrays=lambda path: np.savez(path.open('wb'), images=np.zeros((2, 4, 4))),
    safetensors=lambda path: save_file(dict(a=torch.zeros(2)), str(path)),
    list=lambda path: torch.save([torch.zeros(2)], path),
    tensor=lambda path: torch.save(torch.zeros(2), path),
    number=lambda path: torch.save(3, path),
    no_state=lambda path: torch.save(dict(state_dict=None), path),
    list_of_states=lambda path: torch.save(dict(state_dict=[1]), path),
    scripted=write_scripted,
)


@pytest.fixture
def marker(tmp_path):
    """A path at which no file may appear."""
    path = tmp_path / 'code_has_run'
    yield path
    assert not path.exists()


@contextmanager
def refused(folder, match='cannot read'):
    """Whatever is done ends with one line about it and leaves all files as they were."""
    before = {path: path.read_bytes() for path in folder.rglob('*') if path.is_file()}
    with pytest.raises(SystemExit, match=match) as caught, readable_errors():
        yield
    assert str(caught.value).startswith('error: ')
    assert '\n' not in str(caught.value)
    assert 'weights_only' not in str(caught.value)  # torch advises to switch it off
    assert before == {path: path.read_bytes() for path in before}


@pytest.fixture
def loads(make_runner, build_model, resnet_config, load_tool, tmp_path, write_config):
    """Every way by which a checkpoint gets into the package, by name."""

    def config():
        return str(write_config(tmp_path / 'network.py', dict(model=resnet_config())))

    def pretrained(path):
        network = resnet_config()
        network['backbone']['init_cfg'] = dict(type='Pretrained', checkpoint=str(path))
        build_model(network)

    return dict(
        teacher=lambda path: load_weights(build_model(resnet_config()), str(path)),
        load_from=lambda path: make_runner(resnet_config(), load_from=str(path)).train(),
        resume=lambda path: make_runner(resnet_config(), load_from=str(path), resume=True).train(),
        pretrained=pretrained,
        evaluation=lambda path: load_classifier(dict(config=config(), checkpoint=path), 'it'),
        shift_bias=lambda path: bias_shift.load(config(), path),
        authors=lambda path: load_tool('convert_authors_checkpoint').convert(
            Namespace(source=path, config=config(), target=tmp_path / 'converted.pth')
        ),
    )


WAYS = ('teacher', 'load_from', 'resume', 'pretrained', 'evaluation', 'shift_bias', 'authors')


# ---------------------------------------------------------------- code in checkpoints


@pytest.mark.parametrize('way', WAYS)
@pytest.mark.parametrize('kind', HOSTILE)
def test_no_code_of_a_checkpoint_runs(loads, tmp_path, marker, way, kind, monkeypatch):
    monkeypatch.setenv('TORCH_FORCE_NO_WEIGHTS_ONLY_LOAD', '1')
    path = tmp_path / 'evil.pth'
    HOSTILE[kind](marker, path)
    with refused(tmp_path):
        loads[way](path)


@pytest.mark.parametrize('kind', ['zip', 'getattr'])
def test_no_code_of_the_latest_checkpoint_of_a_work_dir_runs(
    make_runner, resnet_config, tmp_path, marker, kind
):
    path = tmp_path / 'run' / 'epoch_1.pth'
    path.parent.mkdir()
    HOSTILE[kind](marker, path)
    (path.parent / 'last_checkpoint').write_text(str(path))
    with refused(tmp_path):
        make_runner(resnet_config(), work_dir=str(path.parent), resume=True).train()


@pytest.mark.parametrize('kind', ['zip', 'getattr'])
def test_a_file_that_calls_itself_safetensors_runs_no_code(tmp_path, marker, kind):
    path = tmp_path / 'evil.safetensors'
    HOSTILE[kind](marker, path)
    with refused(tmp_path):
        read_checkpoint(path)


def test_these_files_do_run_code_where_they_are_loaded_without_care(tmp_path):
    marker, path = tmp_path / 'marker', tmp_path / 'evil.pth'
    for kind in ('zip', 'legacy'):
        HOSTILE[kind](marker, path)
        torch.load(path, weights_only=False)
        assert marker.exists()
        marker.unlink()
    with torch.serialization.safe_globals([getattr, HistoryBuffer]):
        HOSTILE['getattr'](marker, path)
        torch.load(path, weights_only=True)
        assert marker.exists()


def test_the_config_in_a_checkpoint_is_not_run_at_a_resume(
    make_runner, resnet_config, tmp_path, marker
):
    model = resnet_config()
    make_runner(model, work_dir=str(tmp_path / 'run')).train()
    content = torch.load(tmp_path / 'run' / 'epoch_1.pth')
    content['meta']['config'] = f'open({str(marker)!r}, "w")'
    torch.save(content, tmp_path / 'evil.pth')
    make_runner(model, load_from=str(tmp_path / 'evil.pth'), resume=True).train()


# ---------------------------------------------------------------- files that are no checkpoints


@pytest.mark.parametrize('way', ['teacher', 'pretrained', 'authors'])
@pytest.mark.parametrize('kind', FOREIGN)
def test_other_files_are_named(loads, tmp_path, way, kind):
    path = tmp_path / 'other.pth'
    FOREIGN[kind](path)
    with refused(tmp_path, match=r'other\.pth'):
        loads[way](path)


@pytest.mark.parametrize('suffix', ['.pth', '.safetensors'])
def test_a_checkpoint_that_ends_early_is_named_wherever_it_ends(build_model, tmp_path, suffix):
    model = build_model(dict(type='ImageClassifier', backbone=dict(type='LeNet5', num_classes=10)))
    whole = tmp_path / f'whole{suffix}'
    if suffix == '.pth':
        torch.save(dict(state_dict=model.state_dict()), whole)
    else:
        save_file(model.state_dict(), str(whole))
    assert read_checkpoint(whole)
    content = whole.read_bytes()
    path = tmp_path / f'part{suffix}'
    lengths = {0, 1, 2, 3, 4, 8, 100, *range(0, len(content), len(content) // 50)}
    for length in sorted({*lengths, len(content) - 100, len(content) - 1}):
        path.write_bytes(content[:length])
        with refused(tmp_path, match=r'part\.'):
            read_checkpoint(path)


def test_damaged_checkpoints_are_refused_or_hold_the_same(tmp_path):
    weights = torch.arange(1000.0)
    torch.save(dict(state_dict=dict(a=weights)), tmp_path / 'whole.pth')
    content = (tmp_path / 'whole.pth').read_bytes()
    generator = np.random.default_rng(0)
    for place in generator.integers(0, len(content), 300):
        damaged = bytearray(content)
        damaged[place] ^= int(generator.integers(1, 256))
        (tmp_path / 'damaged.pth').write_bytes(damaged)
        try:
            read = read_checkpoint(tmp_path / 'damaged.pth')
        except ValueError as error:
            assert str(error).startswith('cannot read')  # noqa: PT017
        else:  # what is read has passed its checksum
            assert torch.equal(read['state_dict']['a'], weights)


@pytest.mark.parametrize('way', ['load_from', 'resume', 'pretrained'])
def test_a_missing_checkpoint_is_named(loads, tmp_path, way):
    with refused(tmp_path, match=r'no file .*none\.pth'):
        loads[way](tmp_path / 'none.pth')


@pytest.mark.parametrize(
    'change',
    [
        lambda content: content['state_dict'],
        lambda content: {},
        lambda content: dict(content, meta=None),
        lambda content: dict(content, meta=dict(epoch=1)),
        lambda content: dict(content, optimizer=dict(a=1)),
        lambda content: dict(content, param_schedulers=[1]),
        lambda content: dict(content, message_hub=3),
        lambda content: {k: v for k, v in content.items() if k != 'message_hub'},
    ],
)
def test_what_is_no_state_of_a_training_is_not_resumed(
    make_runner, resnet_config, tmp_path, change
):
    make_runner(resnet_config(), work_dir=str(tmp_path / 'run')).train()
    path = tmp_path / 'other.pth'
    torch.save(change(torch.load(tmp_path / 'run' / 'epoch_2.pth')), path)
    with refused(tmp_path, match=r'cannot resume from .*other\.pth .*load_from'):
        make_runner(resnet_config(), load_from=str(path), resume=True).train()


def test_the_checkpoint_of_another_network_is_not_resumed(make_runner, resnet_config, tmp_path):
    make_runner(resnet_config(depth=14), work_dir=str(tmp_path / 'run')).train()
    path = tmp_path / 'run' / 'epoch_1.pth'
    with refused(tmp_path, match=r'cannot resume from .*epoch_1\.pth'):
        make_runner(resnet_config(), load_from=str(path), resume=True).train()


def test_the_checkpoint_of_another_network_is_not_tested(
    call_tool, run_settings, resnet_config, build_model, tmp_path, write_config
):
    config = write_config(tmp_path / 'config.py', run_settings(tmp_path / 'run', resnet_config()))
    torch.save(build_model(resnet_config(depth=14)).state_dict(), tmp_path / 'other.pth')
    with refused(tmp_path, match=r'other\.pth does not fit the config: .*unexpected key'):
        call_tool('test', config, tmp_path / 'other.pth')


def test_a_teacher_that_is_not_finite_is_refused(build_model, resnet_config, tmp_path):
    model = build_model(resnet_config())
    state = model.state_dict()
    state['head.fc.weight'][3, 1] = torch.nan
    torch.save(state, tmp_path / 'broken.pth')
    with refused(tmp_path, match=r'broken\.pth .*: NaN or infinity in head\.fc\.weight'):
        load_weights(model, str(tmp_path / 'broken.pth'))


# ---------------------------------------------------------------- files of arrays


def cache():
    rows = torch.arange(3)
    return LogitCache(rows, torch.zeros(3, 2), torch.zeros(3, dtype=torch.float64), 'me')


ARRAY_WAYS = dict(
    dataset=lambda path: ArrayDataset(str(path)),
    cache=LogitCache.load,
)


@pytest.mark.parametrize('way', ARRAY_WAYS)
@pytest.mark.parametrize('kind', HOSTILE)
def test_no_code_of_a_file_of_arrays_runs(tmp_path, marker, way, kind):
    path = tmp_path / 'evil.npz'
    HOSTILE[kind](marker, path)
    with refused(tmp_path, match=r'evil\.npz'):
        ARRAY_WAYS[way](path)


@pytest.mark.parametrize('way', ARRAY_WAYS)
@pytest.mark.parametrize('kind', [kind for kind in FOREIGN if kind != 'arrays'])
def test_other_files_are_no_files_of_arrays(tmp_path, way, kind):
    path = tmp_path / 'other.npz'
    FOREIGN[kind](path)
    with refused(tmp_path, match=r'other\.npz'):
        ARRAY_WAYS[way](path)


@pytest.mark.parametrize('save', [np.savez, np.savez_compressed])
def test_a_file_of_arrays_that_ends_early_or_is_damaged_is_named(tmp_path, save):
    pixels = np.random.default_rng(0).integers(0, 256, (20, 8, 8), dtype=np.uint8)
    save(tmp_path / 'whole.npz', images=pixels, labels=np.zeros(20, int))
    content = (tmp_path / 'whole.npz').read_bytes()
    path = tmp_path / 'part.npz'
    for length in range(0, len(content), len(content) // 40):
        path.write_bytes(content[:length])
        with refused(tmp_path, match=r'part\.npz'):
            ArrayDataset(str(path))
    generator = np.random.default_rng(1)
    for place in generator.integers(0, len(content), 300):
        damaged = bytearray(content)
        damaged[place] ^= int(generator.integers(1, 256))
        path.write_bytes(damaged)
        try:
            arrays = read_arrays(path)
        except ValueError as error:
            assert 'damaged' in str(error)  # noqa: PT017
        else:  # what is read has passed its checksum
            assert all(np.array_equal(arrays[name], pixels) for name in arrays if name == 'images')


@pytest.mark.parametrize(
    'change',
    [
        dict(rows=np.zeros(3)),
        dict(rows=np.arange(2)),
        dict(rows=np.array([2, 1, 0])),
        dict(rows=np.array([['a', 'b', 'c']])),
        dict(logits=np.zeros((2, 2), np.float32)),
        dict(logits=np.zeros(3, np.float32)),
        dict(logits=np.full((3, 2), np.nan, np.float32)),
        dict(fingerprints=np.zeros((3, 1))),
    ],
)
def test_a_cache_whose_arrays_do_not_fit_is_refused(tmp_path, change):
    path = tmp_path / 'cache.npz'
    cache().save(path)
    with np.load(path) as content:
        np.savez(path, **{**content, **change})
    with refused(tmp_path, match=r'cache\.npz is no cache of teacher logits .*remove it'):
        LogitCache.load(path)


# ---------------------------------------------------------------- downloads


@pytest.fixture
def online(serve, build_model, resnet_config, tmp_path):
    """Address of a checkpoint named after its checksum, and of one that has another's name."""
    torch.save(build_model(resnet_config()).state_dict(), tmp_path / 'net.pth')
    content = (tmp_path / 'net.pth').read_bytes()
    digest = hashlib.sha256(content).hexdigest()[:8]
    (tmp_path / f'net-{digest}.pth').write_bytes(content)
    wrong = f'{int(digest, 16) ^ 1:08x}'
    (tmp_path / f'net-{wrong}.pth').write_bytes(content)
    return f'{serve}/net-{digest}.pth', f'{serve}/net-{wrong}.pth'


DOWNLOADS = ('teacher', 'load_from', 'resume', 'pretrained')


@pytest.mark.parametrize('way', ['teacher', 'load_from'])
def test_a_download_with_the_right_checksum_is_loaded(loads, online, way):
    loads[way](online[0])


@pytest.mark.parametrize('way', DOWNLOADS)
def test_a_download_with_the_wrong_checksum_is_refused_and_not_kept(loads, online, tmp_path, way):
    with refused(tmp_path, match='its name says that its SHA-256 starts with'):
        loads[way](online[1])
    assert not list((tmp_path / 'cache').rglob('*.p*t*'))


def test_a_download_that_was_changed_since_is_refused(online, tmp_path):
    read_checkpoint(online[0])
    (path,) = (tmp_path / 'cache').rglob('*.pth')
    torch.save(dict(a=torch.zeros(1)), path)
    with refused(tmp_path, match='damaged or another one; remove it'):
        read_checkpoint(online[0])


@pytest.mark.parametrize('way', DOWNLOADS)
@pytest.mark.parametrize('source', ['http://127.0.0.1:9/a.pth', 's3://bucket/a.pth', 'ftp://a/b'])
def test_nothing_is_downloaded_but_over_https(loads, tmp_path, way, source):
    with refused(tmp_path, match='is not downloaded: only https is safe'):
        loads[way](source)


def test_https_that_leads_to_http_is_refused(serve, tmp_path):
    with refused(tmp_path, match=r'http://127\.0\.0\.1:9/a\.pth is not downloaded'):
        read_checkpoint(f'{serve}/redirect/http://127.0.0.1:9/a.pth')


def test_https_may_lead_to_https(serve, online):
    assert read_checkpoint(f'{serve}/redirect/{online[0]}')


def test_a_server_without_a_certificate_is_refused(online, tmp_path, monkeypatch):
    monkeypatch.delenv('SSL_CERT_FILE')
    with refused(tmp_path, match='cannot download .*CERTIFICATE_VERIFY_FAILED'):
        read_checkpoint(online[0])


@pytest.mark.parametrize('way', DOWNLOADS)
def test_no_code_behind_a_url_runs(loads, serve, tmp_path, marker, way):
    HOSTILE['zip'](marker, tmp_path / 'evil.pth')
    with refused(tmp_path):
        loads[way](f'{serve}/evil.pth')


def test_names_of_openmmlab_stand_for_guarded_urls(serve, tmp_path, marker, monkeypatch):
    HOSTILE['zip'](marker, tmp_path / 'evil.pth')
    for scheme, kind in dict(
        mmcls='mmcls', openmmlab='external', torchvision='torchvision'
    ).items():
        monkeypatch.setattr(
            f'mmengine.runner.checkpoint.get_{kind}_models', lambda: dict(evil=f'{serve}/evil.pth')
        )
        with refused(tmp_path):
            CheckpointLoader.load_checkpoint(f'{scheme}://evil', 'cpu')


def test_a_second_guard_changes_nothing(tmp_path, marker):
    checkpoint_loading.repair(checkpoint)
    HOSTILE['zip'](marker, tmp_path / 'evil.pth')
    with refused(tmp_path):
        CheckpointLoader.load_checkpoint(str(tmp_path / 'evil.pth'))


def test_a_meta_that_only_looks_like_a_dict_is_refused(tmp_path):
    """mmengine runs the text in ``meta['config']`` at a resume."""
    from mmengine.runner.checkpoint import load_checkpoint

    scalar = np.zeros((), [('epoch', 'i8'), ('iter', 'i8'), ('mark', 'U6'), ('config', 'U80')])
    scalar['mark'], scalar['config'] = 'config', 'raise SystemExit'
    torch.save(dict(meta=scalar[()], state_dict=dict()), tmp_path / 'scalar.pth')
    with pytest.raises(ValueError, match=r"it holds an array of 'V"):
        load_checkpoint(torch.nn.Linear(1, 1), str(tmp_path / 'scalar.pth'))
    torch.save(dict(meta=['config'], state_dict=dict()), tmp_path / 'list.pth')
    with pytest.raises(ValueError, match='meta is a list'):
        load_checkpoint(torch.nn.Linear(1, 1), str(tmp_path / 'list.pth'))
