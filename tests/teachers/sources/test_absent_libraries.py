"""Libraries that are not installed: one line names the extra."""

import sys

import pytest

from mmbss.engine.errors import ConfigError
from mmbss.teachers.sources import load_source


@pytest.mark.parametrize(
    ('config', 'package', 'extra'),
    [
        ('timm:resnet10t', 'timm', 'timm'),
        ('hf:owner/name', 'transformers', 'huggingface'),
        ('timm:hf-hub:owner/name', 'huggingface_hub', 'timm'),
        ('teacher.onnx', 'onnxruntime', 'onnx'),
    ],
)
def test_the_extra_is_named(config, package, extra, monkeypatch, tmp_path):
    if config.startswith('timm:hf-hub:'):
        pytest.importorskip('timm')
    monkeypatch.chdir(tmp_path)
    (tmp_path / 'teacher.onnx').touch()
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(ConfigError, match=rf'{package} .*mmbss\[{extra}\]'):
        load_source(config, None, None)
