import pytest
import torch

from mmbss.engine.repairs import torchvision_operators

#: What such a wheel does: fake versions of operators whose library could not be loaded.
FAKES = """
import torch
torch.library.register_fake('torchvision::nms')(lambda dets, scores, threshold: dets)
torch.library.register_fake('torchvision::qnms')(lambda *args: args[0])
"""


@pytest.fixture
def install(tmp_path, python):
    """Put a torchvision of some build before the one that is installed, and run code with it."""

    def run(version, code, check=True):
        package = tmp_path / 'torchvision'
        package.mkdir(exist_ok=True)
        (package / '__init__.py').write_text(FAKES)
        (package / 'version.py').write_text(version)
        return python('-c', code, check=check, environment=dict(PYTHONPATH=str(tmp_path)))

    return run


#: As two versions of such a wheel say it.
BUILDS = ["__version__ = '0.28.0+cu130'\n", "__version__ = '0.19.0'\ncuda = '12.1'\n"]


@pytest.mark.skipif(torch.version.cuda is not None, reason='needs a CPU build of torch')
@pytest.mark.parametrize(
    ('version', 'first'), [(BUILDS[0], 'torch, mmbss'), (BUILDS[0], 'mmbss'), (BUILDS[1], 'mmbss')]
)
def test_a_torchvision_for_cuda_becomes_importable_beside_a_cpu_build(install, version, first):
    install(version, f'import {first}, torchvision')


@pytest.mark.parametrize('version', ["__version__ = '0.28.0+cpu'\n", "__version__ = '0.28.0'\n"])
def test_nothing_is_declared_for_another_build(install, version):
    # so a torchvision that does not work for another reason says so itself
    broken = install(version, 'import mmbss, torch, torchvision', check=False)
    assert 'operator torchvision::nms does not exist' in broken.stderr


@pytest.mark.parametrize('cuda', [None, '13.0'])
def test_nothing_is_declared_where_the_operators_are_or_will_be(monkeypatch, cuda):
    monkeypatch.setattr(torchvision_operators, 'is_for_cuda', lambda: True)
    monkeypatch.setattr(torch.version, 'cuda', cuda)
    if cuda is None:
        monkeypatch.setattr(torch.ops.torchvision, 'nms', object(), raising=False)
    monkeypatch.setattr(torch.library, 'Library', None)
    torchvision_operators.repair(torch)


def test_no_torchvision_is_no_error(monkeypatch):
    monkeypatch.setattr(torchvision_operators.util, 'find_spec', lambda name: None)
    assert not torchvision_operators.is_for_cuda()
