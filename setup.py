"""Packaging of mmbss; the configs and tools travel inside the package for mim."""

from pathlib import Path

from setuptools import find_packages, setup

HERE = Path(__file__).parent
VERSION = (HERE / 'mmbss' / 'version.py').read_text().split("__version__ = '")[1].split("'")[0]


def requirements(name: str) -> list[str]:
    """Lines of requirements/<name>.txt."""
    return (HERE / 'requirements' / f'{name}.txt').read_text().split()


setup(
    name='mmbss',
    version=VERSION,
    description="Knowledge distillation at the teacher's decision boundary, for MMPretrain",
    long_description=(HERE / 'README.md').read_text(encoding='utf-8'),
    long_description_content_type='text/markdown',
    author='The mmbss authors',
    license='Apache-2.0',
    license_files=['LICENSE'],
    keywords='knowledge distillation, decision boundary, adversarial, mmpretrain, openmmlab',
    python_requires='>=3.11',
    classifiers=[
        'Programming Language :: Python :: 3.11',
        'Topic :: Scientific/Engineering :: Artificial Intelligence',
    ],
    packages=find_packages(include=['mmbss', 'mmbss.*']),
    # mmbss/.mim holds links to the folders and files at the top of the repository
    package_data={
        'mmbss': [
            '.mim/*.yml',
            '.mim/configs/**/*.py',
            '.mim/tools/*',
            'acceleration/*.cpp',
            'acceleration/*.h',
            'py.typed',
            'report/templates/*',
        ]
    },
    # No OpenMMLab package here: mmcv and mmcv-lite, the official packages and the onedl fork
    # share import names, and whichever the user has must not be joined by a second copy.
    install_requires=requirements('runtime'),
    extras_require={
        name: requirements(name)
        for name in ('openmmlab', 'onedl', 'digits', 'report', 'tensorboard', 'attacks')
    },
)
