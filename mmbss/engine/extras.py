"""Packages that a part of mmbss needs, and the extras that install them."""

from collections.abc import Iterator
from contextlib import contextmanager

from mmbss.engine.errors import ConfigError

#: Extra by the package that is imported.
EXTRAS = dict(
    huggingface_hub='timm',
    jinja2='report',
    matplotlib='report',
    onnx='onnx',
    onnxruntime='onnx',
    onnxscript='onnx',
    scipy='report',
    sklearn='digits',
    timm='timm',
    transformers='huggingface',
)


@contextmanager
def named_extra() -> Iterator[None]:
    """Import within what an extra installs, where it is first needed.

    Raises:
        ConfigError: If it is not installed; names the extra.

    Examples:
        >>> with named_extra():
        ...     raise ModuleNotFoundError(name='jinja2')
        Traceback (most recent call last):
        mmbss.engine.errors.ConfigError: jinja2 is not installed: pip install 'mmbss[report]'
    """
    try:
        yield
    except ModuleNotFoundError as error:
        package = (error.name or '').partition('.')[0]
        if package not in EXTRAS:
            raise
        raise ConfigError(
            f"{package} is not installed: pip install 'mmbss[{EXTRAS[package]}]'"
        ) from error
