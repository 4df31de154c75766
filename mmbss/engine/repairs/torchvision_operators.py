"""Make a torchvision that was built for CUDA importable beside a CPU build of torch.

Cause: such a wheel cannot load its compiled operators, and then registers fake versions of
operators that nobody declared (``operator torchvision::nms does not exist``). mmpretrain needs the
Python part of torchvision only, so declaring the two schemas is enough.
"""

import re
from importlib import util
from pathlib import Path
from typing import Any

#: What the version file of a build for CUDA says.
CUDA = re.compile(r"^__version__ = '[^']*\+cu\d|^cuda = '", re.MULTILINE)

#: Operators stay declared only as long as their library object lives.
_libraries: list[Any] = []


def repair(torch: Any) -> None:
    """Declare the operators where they are going to be missed."""
    if torch.version.cuda is not None or not is_for_cuda():
        return
    if hasattr(torch.ops.torchvision, 'nms'):  # somebody else has declared them
        return
    library = torch.library.Library('torchvision', 'FRAGMENT')
    library.define('nms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor')
    library.define(
        'qnms(Tensor dets, Tensor scores, Tensor scales, Tensor zero_points, '
        'float iou_threshold) -> Tensor'
    )
    _libraries.append(library)


def is_for_cuda() -> bool:
    """Whether the torchvision that is installed, if any, is a build for CUDA."""
    spec = util.find_spec('torchvision')  # which does not import it
    if spec is None or spec.origin is None:
        return False
    version = Path(spec.origin).with_name('version.py')
    return version.is_file() and CUDA.search(version.read_text()) is not None
