"""What is asked for, and what it means: the images, the student, the teacher, the methods."""

from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from mmbss.distil.data import Data, look_at
from mmbss.distil.methods import METHODS, NEED_GRADIENT, check_methods
from mmbss.distil.networks import STUDENTS, TEACHERS, NetworkConfig, network_of
from mmbss.distil.teachers import TeacherChoice, choose_teacher
from mmbss.engine.errors import ConfigError
from mmbss.engine.fingerprint import file_digest
from mmbss.engine.ranges import check_at_least, check_positive
from mmbss.export.formats import cpu_count
from mmbss.studies.settings import digest_of

#: Images of a step, of small images and of others.
BATCH_SIZES = (64, 32)
#: Processes that read images, at most.
WORKERS = 4


@dataclass(frozen=True)
class Request:
    """What is asked for.

    Attributes:
        images: Folder of the images.
        work_dir: Folder of all that is written.
        teacher: Name of the teacher, None for one by the size of the images.
        teacher_checkpoint: Its weights; see :func:`~mmbss.distil.teachers.choose_teacher`.
        teacher_options: Further keys of a teacher that is taken as it is.
        student: Name of the student, None for one by the size of the images.
        student_checkpoint: Weights that its backbone starts from; see
            :func:`~mmbss.distil.networks.network_of`.
        methods: What is tried.
        minutes: Time for all of it.
        size: Pixels on a side, None: by the images.
        epochs: Of each training, None: as many as fit.
        settings: Temperatures and weights of each method at most, None: as many as fit.
        batch_size: Images of a step, None: by the size of the images.
        seed: Of what is held out and of each training.
    """

    images: Path
    work_dir: Path
    teacher: str | None = None
    teacher_checkpoint: str | None = None
    teacher_options: dict[str, Any] = field(default_factory=dict)
    student: str | None = None
    student_checkpoint: str | None = None
    methods: tuple[str, ...] = tuple(METHODS)
    minutes: float = 60.0
    size: int | None = None
    epochs: int | None = None
    settings: int | None = None
    batch_size: int | None = None
    seed: int = 0

    def check(self) -> None:
        """Refuse numbers that nothing can be made of.

        Raises:
            ConfigError: With a line for each.
        """
        check_methods(self.methods)
        check_positive(None, minutes=self.minutes, epochs=self.epochs, settings=self.settings)
        check_at_least(None, 8, size=self.size)
        check_at_least(None, 2, batch_size=self.batch_size)
        check_at_least(None, 0, seed=self.seed)
        if self.seed >= 2**32:
            raise ConfigError(f'seed must be below 2**32, got {self.seed}')

    @property
    def arguments(self) -> dict[str, Any]:
        """What decides about the result; the time may be another at the next call."""
        return {name: value for name, value in asdict(self).items() if name != 'minutes'}

    @property
    def weights(self) -> dict[str, str]:
        """Fingerprints of the files of weights, by their paths."""
        named = {self.teacher_checkpoint, self.student_checkpoint}
        files = sorted(name for name in named if name and Path(name).is_file())
        return {name: file_digest(name) for name in files}


@dataclass(frozen=True)
class Job:
    """A distillation that is understood: what is trained on what.

    Attributes:
        request: What was asked for.
        data: The images.
        student: The student.
        teacher: The teacher.
        methods: What is tried, as far as the teacher allows.
    """

    request: Request
    data: Data
    student: NetworkConfig
    teacher: TeacherChoice
    methods: list[str]

    @property
    def networks(self) -> dict[str, str]:
        """Fingerprints of the networks that are trained, whose configs may change."""
        trained = dict(student=self.student, teacher=self.teacher.network)
        return {name: digest_of(each.model) for name, each in trained.items() if each is not None}

    @property
    def batch_size(self) -> int:
        """Images of a step, no more than there are."""
        usual = BATCH_SIZES[0 if self.data.is_small else 1]
        return min(self.request.batch_size or usual, len(self.data.splits['train']))

    @property
    def steps(self) -> int:
        """Steps of an epoch."""
        return max(len(self.data.splits['train']) // self.batch_size, 1)

    @property
    def workers(self) -> int:
        """Processes that read images, beside the one that trains."""
        return 0 if self.data.is_small else min(cpu_count() // 2, WORKERS)


def understand(request: Request) -> Job:
    """Look at the images, and find student and teacher.

    Raises:
        ConfigError: If something is wrong with them.
    """
    print(f'looking at the images in {request.images} ...', flush=True)
    data = look_at(request.images, request.seed, cpu_count(), request.size)
    print(''.join(f'  {note}\n' for note in data.notes), flush=True)
    usual = 0 if data.is_small else 1
    name = request.student or STUDENTS[usual]
    student = network_of(name, request.student_checkpoint, len(data.classes), data.size)
    teacher = choose_teacher(
        request.teacher or TEACHERS[usual],
        request.teacher_checkpoint,
        request.teacher_options,
        data.classes,
        data.size,
    )
    methods = check_methods(request.methods)
    if not teacher.has_gradient:
        refused = [each for each in methods if each in NEED_GRADIENT]
        if refused and request.methods != Request.methods:
            raise ConfigError(
                f'--methods {" ".join(refused)}: the teacher gives no gradient, leave it out'
            )
        methods = [each for each in methods if each not in refused]
    return Job(request, data, student, teacher, methods)
