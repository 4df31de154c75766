"""Packaging of mmbss; the configs and tools travel inside the package for mim."""

from pathlib import Path

from setuptools import find_packages, setup

HERE = Path(__file__).parent
VERSION = (HERE / 'mmbss' / 'version.py').read_text().split("__version__ = '")[1].split("'")[0]

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
    python_requires='>=3.10',
    packages=find_packages(include=['mmbss', 'mmbss.*']),
    # mmbss/.mim holds links to the folders and files at the top of the repository
    package_data={'mmbss': ['.mim/*.yml', '.mim/configs/**/*.py', '.mim/tools/*', 'py.typed']},
    # No OpenMMLab package here: mmcv and mmcv-lite, the official packages and the onedl fork
    # share import names, and whichever the user has must not be joined by a second copy.
    install_requires=[
        'numpy>=1.26',
        'scikit-learn>=1.4',
        'torch>=2.6',
        'torchvision>=0.21',
    ],
    extras_require={
        'openmmlab': [
            'mmcv-lite>=2.0,<2.4',
            'mmengine>=0.10.7,<0.11',
            'mmpretrain>=1.2,<1.3',
            'numpy<2.4',
            'setuptools>=77.0.3,<82',  # mmengine 0.10 imports pkg_resources
        ],
        'onedl': ['onedl-mmcv>=2.3.6', 'onedl-mmengine>=0.10.12', 'onedl-mmpretrain>=1.3.6'],
        'tensorboard': ['tensorboard'],
    },
)
