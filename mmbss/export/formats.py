"""The files of an exported student: one function writes each kind, another opens what it wrote."""

import io
import json
import logging
import os
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from mmbss.engine.errors import ConfigError, one_line
from mmbss.engine.extras import named_extra
from mmbss.export.deployed import LOGITS, PIXELS, Deployed, Interface
from mmbss.version import __version__

#: Answers (N, C, H, W) float32 images with (N, K) logits.
Ask = Callable[[np.ndarray], np.ndarray]
#: Name of all files, before their ending.
STUDENT = 'student'
#: Kinds of files that can be written: weights alone, and whole networks.
FORMATS = ('safetensors', 'pth', 'onnx', 'pt2')
#: Images of the example that is traced; with a single one the batch would be fixed to it.
TRACED = 2


def check_formats(formats: tuple[str, ...], opset: int | None) -> None:
    """Refuse what :func:`~mmbss.export.export_student` cannot write, or nobody would read.

    Raises:
        ConfigError: With those that there are, the extra to install, or what is missing.
    """
    unknown = [name for name in formats if name not in FORMATS]
    if unknown or not formats:
        raise ConfigError(f'--formats {" ".join(unknown)}: choose among {", ".join(FORMATS)}')
    if 'onnx' not in formats:
        if opset is not None:
            raise ConfigError(f'--opset {opset} is for onnx: add it to --formats')
        return
    with named_extra():
        import onnx
        import onnxruntime  # noqa: F401
        import onnxscript  # noqa: F401
    newest = onnx.defs.onnx_opset_version()
    if opset is not None and not 1 <= opset <= newest:
        raise ConfigError(f'--opset {opset}: onnx {onnx.__version__} knows 1 to {newest}')


def write_weights(state: dict[str, Tensor], interface: Interface, path: Path) -> None:
    """Write the weights of a plain classifier alone; the ending says how.

    Args:
        state: Its state dict.
        interface: What it takes; its classes are written with it.
        path: A ``.safetensors`` or a ``.pth`` file. The latter holds ``state_dict`` and ``meta``
            as mmpretrain reads them, and nothing but tensors, texts, lists and dicts.
    """
    state = {name: value.detach().cpu().clone().contiguous() for name, value in state.items()}
    classes = list(interface.classes)
    if path.suffix == '.safetensors':
        from safetensors.torch import save

        metadata = dict(format='pt', classes=json.dumps(classes), mmbss=__version__)
        path.write_bytes(save(state, metadata))
    else:
        meta = dict(dataset_meta=dict(classes=classes), mmbss=__version__)
        content = io.BytesIO()  # torch's own errors of a full disk name no disk
        torch.save(dict(state_dict=state, meta=meta), content)
        path.write_bytes(content.getvalue())


def trace(deployed: Deployed, example: Tensor) -> torch.export.ExportedProgram:
    """The graph of a network for any number of images.

    Args:
        deployed: The network.
        example: (N, C, H, W) float32, N of at least 2.

    Raises:
        ConfigError: If torch cannot export it, or not for any number of images.
    """
    batch = torch.export.Dim('batch', min=1)
    try:
        with torch.no_grad(), quiet():
            return torch.export.export(deployed, (example,), dynamic_shapes=({0: batch},))
    except Exception as error:  # whatever the network does that cannot be traced
        raise ConfigError(f'torch.export: {type(error).__name__}: {one_line(error)}') from error


def write_pt2(
    program: torch.export.ExportedProgram, interface: Interface, opset: int | None, path: Path
) -> None:
    """Write a graph for ``torch.export.load``, with what it takes and gives in a file beside it."""
    described = {'interface.json': json.dumps(interface.to_dict())}
    content = io.BytesIO()
    with quiet():
        torch.export.save(program, content, extra_files=described)
    path.write_bytes(content.getvalue())


def write_onnx(
    program: torch.export.ExportedProgram, interface: Interface, opset: int | None, path: Path
) -> None:
    """Write a graph as ONNX, with what it takes and gives in its ``metadata_props``.

    Raises:
        ConfigError: If it cannot be converted.
    """
    import onnx

    try:
        with quiet():
            exported: Any = torch.onnx.export(
                program,
                input_names=[PIXELS],
                output_names=[LOGITS],
                opset_version=opset,
                dynamo=True,
                external_data=False,
                verbose=False,
            )
            model = exported.model_proto
    except Exception as error:  # an operator that ONNX has not, and much more
        raise ConfigError(f'torch.onnx: {type(error).__name__}: {one_line(error)}') from error
    versions = [each.version for each in model.opset_import if each.domain in ('', 'ai.onnx')]
    if opset is not None and versions != [opset]:  # torch only warns where it leaves it as it is
        raise ConfigError(f'torch.onnx: it is of opset {versions[0]} and has no form in {opset}')
    for value in (*model.graph.input, *model.graph.output):
        value.type.tensor_type.shape.dim[0].dim_param = 'batch'
    for key, said in {**interface.to_dict(), 'mmbss': __version__}.items():
        text = said if isinstance(said, str) else json.dumps(said)
        model.metadata_props.add(key=key, value=text)
    onnx.save(model, path)


def open_onnx(path: Path, threads: int) -> Ask:
    """The function of an ONNX file, in onnxruntime on the CPU with so many threads.

    Raises:
        ConfigError: If onnxruntime does not take it.
    """
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.log_severity_level = 3
    try:
        session = onnxruntime.InferenceSession(path, options, providers=['CPUExecutionProvider'])
    except Exception as error:  # its errors have no class in common
        raise ConfigError(f'onnxruntime: {one_line(error)}') from error
    return lambda pixels: session.run([LOGITS], {PIXELS: pixels})[0]


def open_pt2(path: Path, threads: int) -> Ask:
    """The function of a ``.pt2`` file, on the CPU; torch has its threads for the whole process."""
    return as_ask(torch.export.load(path).module())


def as_ask(network: Callable[[Tensor], Tensor]) -> Ask:
    """A torch function that takes and gives arrays."""

    @torch.no_grad()
    def ask(images: np.ndarray) -> np.ndarray:
        return network(torch.from_numpy(images)).float().numpy()

    return ask


#: How a graph is written, and how what was written is opened, by its kind.
GRAPHS: dict[str, tuple[Callable[..., None], Callable[[Path, int], Ask]]] = dict(
    onnx=(write_onnx, open_onnx), pt2=(write_pt2, open_pt2)
)


@contextmanager
def quiet() -> Iterator[None]:
    """Without what torch says of its own code."""
    before = logging.root.manager.disable
    with warnings.catch_warnings():
        warnings.simplefilter('ignore', FutureWarning)
        warnings.simplefilter('ignore', DeprecationWarning)
        logging.disable(logging.WARNING)
        try:
            yield
        finally:
            logging.disable(before)


def cpu_count() -> int:
    """CPUs that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, 'sched_getaffinity') else os.cpu_count() or 1
