"""Teachers in ONNX files: small graphs, made here, of every kind of input and output."""

import os

import numpy as np
import pytest
import torch

from mmbss.engine.errors import ConfigError, MissingFileError
from mmbss.teachers.sources import load_source
from mmbss.teachers.sources.onnx_file import OnnxNetwork

onnx = pytest.importorskip('onnx')
pytest.importorskip('onnxruntime')

WEIGHT = np.linspace(-1, 1, 3 * 5, dtype=np.float32).reshape(3, 5) / 100
BIAS = np.arange(5, dtype=np.float32) / 10


@pytest.fixture
def write(tmp_path):
    """Write a linear classifier of the mean colour of images; returns its path."""

    def make(
        shape=('N', 3, 'H', 'W'),
        kind='FLOAT',
        softmax=False,
        outputs=('logits',),
        inputs=('images',),
        axes=(2, 3),
        metadata=None,
    ):
        helper = onnx.helper
        data_type = getattr(onnx.TensorProto, kind)
        last = 'logits' if not softmax else 'raw'
        nodes = [
            helper.make_node('Cast', [inputs[0]], ['floats'], to=onnx.TensorProto.FLOAT),
            helper.make_node('ReduceMean', ['floats', 'axes'], ['colours'], keepdims=0),
            helper.make_node('Gemm', ['colours', 'weight', 'bias'], [last]),
        ]
        if softmax:
            nodes.append(helper.make_node('Softmax', ['raw'], ['logits'], axis=1))
        if 'decision' in outputs:
            nodes.append(helper.make_node('ArgMax', ['logits'], ['decision'], axis=1))
        constants = [
            onnx.numpy_helper.from_array(np.array(axes, np.int64), 'axes'),
            onnx.numpy_helper.from_array(WEIGHT, 'weight'),
            onnx.numpy_helper.from_array(BIAS, 'bias'),
        ]
        sizes = dict(logits=[shape[0], 5], colours=[shape[0], 3], floats=list(shape))
        sizes['decision'] = [shape[0], 1]
        types = dict.fromkeys(sizes, onnx.TensorProto.FLOAT)
        types['decision'] = onnx.TensorProto.INT64
        graph = helper.make_graph(
            nodes,
            'network',
            [helper.make_tensor_value_info(name, data_type, list(shape)) for name in inputs],
            [helper.make_tensor_value_info(name, types[name], sizes[name]) for name in outputs],
            constants,
        )
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid('', 18)], ir_version=10)
        for key, value in (metadata or {}).items():
            model.metadata_props.add(key=key, value=value)
        path = tmp_path / f'network_{len(list(tmp_path.iterdir()))}.onnx'
        onnx.save(model, path)
        return str(path)

    return make


def logits_of(images):
    return images.float().mean((2, 3)) @ torch.from_numpy(WEIGHT) + torch.from_numpy(BIAS)


@pytest.mark.parametrize('count', [0, 1, 3, 4, 9])
@pytest.mark.parametrize('batch_size', ['N', 4, 1])
def test_any_number_of_images(write, count, batch_size):
    network = OnnxNetwork(write((batch_size, 3, 'H', 'W')))
    images = torch.randn(count, 3, 7, 6)
    torch.testing.assert_close(network(images), logits_of(images))
    assert network(images).shape == (count, 5)


@pytest.mark.parametrize('dtype', [torch.float64, torch.float16, torch.bfloat16])
def test_images_of_other_types(write, dtype):
    images = torch.randn(3, 3, 4, 4).to(dtype)
    logits = OnnxNetwork(write())(images)
    assert logits.dtype == torch.float32
    torch.testing.assert_close(logits, logits_of(images))
    in_half = OnnxNetwork(write(kind='FLOAT16'))(images)
    torch.testing.assert_close(in_half, logits_of(images.half()), atol=1e-4, rtol=0)


def test_pixels(make_teacher, write, pixels, to_student):
    path = write(('N', 3, 8, 8), kind='UINT8')
    teacher = make_teacher(path, channels='rgb')
    images = torch.from_numpy(pixels(8))
    own = logits_of(images.permute(0, 3, 1, 2))
    torch.testing.assert_close(teacher(to_student(images)), own)
    # the nearest pixel, and none beyond the range
    odd = torch.tensor([-3.0, 0.4, 99.6, 300.0]).view(4, 1, 1, 1).expand(4, 3, 8, 8)
    nearest = torch.tensor([0.0, 0, 100, 255]).view(4, 1, 1, 1).expand(4, 3, 8, 8)
    torch.testing.assert_close(teacher.network(odd), logits_of(nearest))
    with pytest.raises(ConfigError, match='uint8'):
        make_teacher(path, channels='rgb', mean=[127.5] * 3, std=[127.5] * 3)


def test_teacher(make_teacher, write, pixels, to_student):
    path = write(('N', 3, 16, 16))
    teacher = make_teacher(
        f'onnx:{path}', mean=[127.5] * 3, std=[127.5] * 3, channels='bgr', classes=list('abcde')
    )
    assert not teacher.differentiable
    assert (teacher.num_classes, teacher.input_size) == (5, (16, 16))
    images = torch.from_numpy(pixels(16)).permute(0, 3, 1, 2)
    own = logits_of((images.flip(1) - 127.5) / 127.5)
    inputs = to_student(images.permute(0, 2, 3, 1))
    torch.testing.assert_close(teacher(inputs), own, atol=1e-6, rtol=0)
    assert not teacher.logits(inputs).requires_grad
    with pytest.raises(ConfigError):
        teacher.watch(['layer1'])


def test_what_our_own_files_say(write):
    said = dict(
        mmbss='1.0',
        channels='rgb',
        mean='[1.0, 2.0, 3.0]',
        std='[4.0, 5.0, 6.0]',
        classes='["a", "b", "c", "d", "e"]',
        normalises='false',
    )
    source = load_source(write(metadata=said), None, None)
    assert (source.mean, source.std, source.channels) == ([1, 2, 3], [4, 5, 6], 'rgb')
    assert source.classes == ('a', 'b', 'c', 'd', 'e')
    source = load_source(write(metadata=dict(said, normalises='true')), None, None)
    assert (source.mean, source.std) == ([0, 0, 0], [1, 1, 1])
    del said['mmbss']  # somebody else's mean may be in other units
    assert load_source(write(metadata=said), None, None).mean is None


@pytest.mark.parametrize(
    'said',
    [dict(), dict(mean='x'), dict(mean='3'), dict(classes='5'), dict(std='["a"]'), dict(mean='{}')],
)
def test_what_our_own_files_cannot_have_said(write, said):
    said = dict(mmbss='1.0', mean='[1.0]', classes='["a"]', normalises='false') | said
    with pytest.raises(ConfigError, match='says of its images is damaged'):
        load_source(write(metadata=said), None, None)


def test_probabilities(write):
    path = write(softmax=True)
    images = torch.randn(3, 3, 4, 4)
    with pytest.raises(ConfigError, match='probabilities=True'):
        OnnxNetwork(path)(images)
    network = OnnxNetwork(path, probabilities=True)
    torch.testing.assert_close(network(images), logits_of(images).log_softmax(1))
    assert network(images * 1e5).isfinite().all()  # where a softmax is 0
    # rounded to 8 bits, so that they sum to 1 no more
    rounded = (256 * logits_of(images).softmax(1)).round() / 256
    assert network._as_logits(rounded).isfinite().all()
    with pytest.raises(ConfigError, match='probabilities=True'):
        OnnxNetwork(path)._as_logits(torch.tensor([[0.496, 0.496], [0.996, 0.012]]))
    with pytest.raises(ConfigError, match='none'):
        OnnxNetwork(write(), probabilities=True)(images)


def test_one_of_several_outputs(write):
    path = write(outputs=('colours', 'logits'))
    with pytest.raises(ConfigError, match="'colours' or 'logits'"):
        load_source(path, None, None)
    images = torch.randn(3, 3, 4, 4)
    source = load_source(path, None, dict(output='logits'))
    torch.testing.assert_close(source.ask(source.network, images), logits_of(images))


@pytest.mark.parametrize(
    ('options', 'arguments', 'word'),
    [
        (dict(inputs=('images', 'mask')), {}, 'mask'),
        (dict(kind='INT64'), {}, 'int64'),
        (dict(shape=('N', 8, 8, 3), axes=(1, 2)), {}, 'transposition'),
        (dict(shape=('N', 3, 9), axes=(2,)), {}, 'images of shape'),
        (dict(outputs=('floats',)), {}, r'\(N, K\)'),
        (dict(outputs=('decision',)), {}, 'int64'),
        ({}, dict(output='others'), 'others'),
        ({}, dict(threads=3), 'threads'),
    ],
)
def test_refused(write, options, arguments, word):
    with pytest.raises(ConfigError, match=word):
        load_source(write(**options), None, arguments)


def test_images_that_do_not_fit(write):
    with pytest.raises(ConfigError, match='does not take images'):
        OnnxNetwork(write())(torch.zeros(2, 1, 8, 8))


def test_files_that_are_none(tmp_path, write):
    with pytest.raises(MissingFileError):
        load_source(str(tmp_path / 'teacher.onnx'), None, None)
    (tmp_path / 'damaged.onnx').write_bytes(b'no network')
    with pytest.raises(ConfigError, match='cannot read'):
        load_source(str(tmp_path / 'damaged.onnx'), None, None)
    with pytest.raises(ConfigError, match='leave the checkpoint out'):
        load_source(write(), 'weights.pth', None)


def test_digest_is_of_the_weights(write, tmp_path):
    path = write()
    digest = load_source(path, None, None).digest
    assert digest == load_source(write(), None, None).digest
    beside = tmp_path / 'beside.onnx'
    model = onnx.load(path)
    onnx.save(
        model,
        beside,
        save_as_external_data=True,
        location='weights.bin',
        size_threshold=WEIGHT.nbytes,
    )
    first = load_source(str(beside), None, None).digest
    content = bytearray((tmp_path / 'weights.bin').read_bytes())
    content[-1] ^= 1
    (tmp_path / 'weights.bin').write_bytes(content)
    assert load_source(str(beside), None, None).digest != first


@pytest.mark.parametrize('place', ['nowhere.bin', '../outside.bin', 'pipe.bin'])
def test_weights_that_are_not_beside_the_file_are_not_read(write, tmp_path, place):
    (tmp_path / 'outside.bin').write_bytes(WEIGHT.tobytes())
    folder = tmp_path / 'downloaded'
    folder.mkdir()
    os.mkfifo(folder / 'pipe.bin')
    model = onnx.load(write())
    unused = onnx.numpy_helper.from_array(WEIGHT, 'unused')
    unused.data_location = onnx.TensorProto.EXTERNAL
    unused.ClearField('raw_data')
    unused.external_data.add(key='location', value=place)
    model.graph.initializer.append(unused)
    (folder / 'teacher.onnx').write_bytes(model.SerializeToString())
    with pytest.raises(ConfigError, match=r'teacher\.onnx'):
        load_source(str(folder / 'teacher.onnx'), None, None)
