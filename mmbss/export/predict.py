"""Ask a student about image files: names of classes and their probabilities."""

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from mmengine.dataset import Compose, pseudo_collate
from mmengine.registry import DefaultScope
from mmpretrain.models import ImageClassifier

from mmbss.engine.class_names import as_names
from mmbss.engine.cli.config import load_config
from mmbss.engine.errors import ConfigError, MissingFileError, first_of, lines_of, naming
from mmbss.engine.files.checkpoint_reading import trained_classes
from mmbss.engine.files.zoo import SCHEME, weights_of
from mmbss.engine.pipelines import transforms_of
from mmbss.export.formats import STUDENT
from mmbss.export.image_files import opens_as_image, walk_images, why_unreadable
from mmbss.export.plain_config import plain_config
from mmbss.export.real_images import read_real_images
from mmbss.export.student import check_names, class_names, interface_of, load_student
from mmbss.registry import TRANSFORMS
from mmbss.teachers.classifiers import num_classes

#: Test images of a config that are read, to find out how it sees files.
LOOKED_AT = 32
#: Where errors of trainings begin to say what to do about an image.
REMEDY = ': restore the file|: take it out of the dataset'


@dataclass(frozen=True)
class Prediction:
    """What a student says of an image.

    Attributes:
        path: The image.
        ranked: Names of the likeliest classes with their probabilities, the likeliest first.
        problem: Why there are none, where the file cannot be read.
    """

    path: Path
    ranked: tuple[tuple[str, float], ...] = ()
    problem: str | None = None


class Predictor:
    """A student that reads image files as its test images were read, on a GPU if there is one.

    Args:
        model: The classifier, in eval mode.
        transforms: Pipeline from ``img_path`` to what the model gets.
        classes: Names of its classes.
        assumed: What nothing says of how it sees images, if anything.

    Raises:
        ConfigError: If a transform is unknown, or does not take its arguments.
    """

    def __init__(
        self,
        model: ImageClassifier,
        transforms: list[dict[str, Any]],
        classes: tuple[str, ...],
        assumed: str | None = None,
    ) -> None:
        self.model = model.to('cuda' if torch.cuda.is_available() else 'cpu')
        self.classes, self.assumed = classes, assumed
        with DefaultScope.overwrite_default_scope('mmpretrain'), naming('pipeline'):
            self.pipeline = Compose([TRANSFORMS.build(each) for each in transforms])

    def __call__(
        self, paths: Iterable[Path], top: int = 5, batch_size: int = 32
    ) -> Iterator[Prediction]:
        """Predictions in the order of the images; those that cannot be read say why.

        Args:
            paths: Image files.
            top: Classes that are named for each.
            batch_size: Images that are asked about at once.
        """
        batch: list[tuple[Path, dict[str, Any] | str]] = []
        for path in paths:
            batch.append((path, self._read(path)))
            if len(batch) == batch_size:
                yield from self._ask(batch, top)
                batch = []
        yield from self._ask(batch, top)

    def _read(self, path: Path) -> dict[str, Any] | str:
        """An image as the model gets it, or what is wrong with the file."""
        try:
            return self.pipeline(dict(img_path=str(path)))
        except Exception as error:  # whatever a decoder makes of a damaged file
            return why_unreadable(path) or re.split(REMEDY, lines_of(error)[0])[0]

    @torch.no_grad()
    def _ask(
        self, batch: list[tuple[Path, dict[str, Any] | str]], top: int
    ) -> Iterator[Prediction]:
        readable = {row: read for row, (_, read) in enumerate(batch) if not isinstance(read, str)}
        samples: dict[int, Any] = {}
        # those of one size at once, since others would be padded to the largest
        for shape in {read['inputs'].shape for read in readable.values()}:
            rows = [row for row, read in readable.items() if read['inputs'].shape == shape]
            answers = self.model.test_step(pseudo_collate([readable[row] for row in rows]))
            samples |= zip(rows, answers, strict=True)
        for row, (path, read) in enumerate(batch):
            if isinstance(read, str):
                yield Prediction(path, problem=read)
                continue
            scores, labels = samples[row].pred_score.topk(min(top, len(self.classes)))
            named = zip(labels.tolist(), scores.tolist(), strict=True)
            yield Prediction(path, tuple((self.classes[label], score) for label, score in named))


def load_predictor(model: str | Path, checkpoint: str | Path | None = None) -> Predictor:
    """Load an exported student, or one of a training.

    Args:
        model: Folder of ``tools/export.py``, ``mmbss://NAME`` of the zoo, or a config.
        checkpoint: Weights, where ``model`` is a config.

    Raises:
        MissingFileError: If there is no such folder, config or checkpoint.
        ConfigError: If a checkpoint is missing or one too many, does not fit, names no classes, or
            others than the config beside it, or was trained with another normalisation.
    """
    is_of_zoo = str(model).startswith(SCHEME)
    folder = weights_of(str(model)).parent if is_of_zoo else Path(model)
    if folder.is_dir():
        if checkpoint is not None:
            raise ConfigError(f'{folder} is an exported folder with weights: no --checkpoint')
        cfg = load_config(str(folder / f'{STUDENT}.py'))
        dataset = (cfg.get('test_dataloader') or {}).get('dataset') or {}
        classes = as_names((dataset.get('metainfo') or {}).get('classes')) or ()
        if not classes or not dataset.get('pipeline'):
            raise ConfigError(
                f'{cfg.filename}: test_dataloader.dataset lacks metainfo.classes or a pipeline: '
                'export again, or add them'
            )
        weights = weights_in(folder)
        network, meta = load_student(cfg, weights)
        check_names(classes, num_classes(network))
        trained = trained_classes(meta)
        if trained and trained != classes:
            raise ConfigError(
                f'{weights} was trained on the classes {first_of(trained, 6)}, {cfg.filename} '
                f'names {first_of(classes, 6)}: take both from one export'
            )
        return Predictor(network, transforms_of(cfg), classes)
    if checkpoint is None:
        raise ConfigError(f'{model} is no folder of tools/export.py: with a config, --checkpoint')
    cfg = load_config(str(model))
    network, meta = load_student(cfg, checkpoint)
    images = read_real_images(cfg, network.data_preprocessor, LOOKED_AT, one_size=False)
    classes = class_names(None, meta, images, num_classes(network))
    interface, assumed = interface_of(cfg, network, images, classes)
    plain = plain_config(cfg, network, interface, images.stored, keeps_reader=True)
    # it reads files as BGR, as its pipeline does
    network.data_preprocessor.to_rgb = plain.model.data_preprocessor.to_rgb
    return Predictor(network, transforms_of(plain), classes, assumed)


def weights_in(folder: Path) -> Path:
    """The weights in an exported folder.

    Raises:
        MissingFileError: If it holds none.
    """
    for kind in ('pth', 'safetensors'):
        if (folder / f'{STUDENT}.{kind}').is_file():
            return folder / f'{STUDENT}.{kind}'
    raise MissingFileError(f'{folder} holds no weights: export with --formats pth')


def find_images(paths: Iterable[str | Path]) -> list[Path]:
    """Image files by their paths, those in folders by their endings, in the order of their names.

    Also those of an ending that no training reads, such as ``.gif``: the first image in them is
    asked about, or what is wrong with them said. Hidden files and folders are passed over.

    Raises:
        MissingFileError: If a path does not exist, or there is no image at all.
        ConfigError: If a path is neither a file nor a folder.
    """
    found: list[Path] = []
    for path in map(Path, paths):
        if path.is_dir():
            below = (
                folder / name
                for folder, images, others in walk_images(path)
                for name in [*images, *filter(opens_as_image, others)]
            )
            found += sorted(each for each in below if each.is_file())
        elif path.is_file():
            found.append(path)
        elif path.exists():
            raise ConfigError(f'{path} is no file, but a pipe or a device')
        else:
            raise MissingFileError(f'no file or folder {str(path)!r}')
    if not found:
        raise MissingFileError(f'no image in {", ".join(map(str, paths))}')
    return [*dict.fromkeys(found)]
