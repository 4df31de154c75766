"""All steps from a folder of images to a shipped student, in their order."""

import os
import tempfile
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

from mmbss.distil.choose import LABELS, RULE
from mmbss.distil.configs import Place, Training, teacher_entry, write_configs
from mmbss.distil.data import Data, look_at
from mmbss.distil.finish import attempt, choose_student, export, look_at_tests, write_report
from mmbss.distil.methods import METHODS, NEED_GRADIENT, Setting, check_methods, settings_of
from mmbss.distil.networks import (
    NO_WEIGHTS,
    Network,
    default_student,
    default_teacher,
    network_of,
)
from mmbss.distil.plan import (
    ASKED_STUDENTS,
    ASKED_TEACHER,
    IMPORTS,
    Costs,
    Plan,
    make_plan,
    settings_by_method,
    validations,
)
from mmbss.distil.running import Outcome, run_all, seconds_of
from mmbss.distil.state import check_same, put_aside, read_state, write_state
from mmbss.distil.summary import summary, tests_in_words
from mmbss.distil.teachers import TeacherChoice, choose_teacher
from mmbss.distil.timing import Cost, measure, stand_in_teacher
from mmbss.engine.atomic import whole_file
from mmbss.engine.errors import ConfigError
from mmbss.engine.ranges import check_at_least, check_positive
from mmbss.report.runs import Run
from mmbss.report.study import Arm, Study
from mmbss.report.study_files import keep
from mmbss.report.study_progress import in_words
from mmbss.report.study_runner import StudyRunner

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
        student_checkpoint: Weights that its backbone starts from.
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
    student_checkpoint: str = NO_WEIGHTS
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

    @property
    def arguments(self) -> dict[str, Any]:
        """What decides about the result; the time may be another at the next call."""
        own = {name: value for name, value in asdict(self).items() if name != 'minutes'}
        return {name: str(v) if isinstance(v, Path) else v for name, v in own.items()}


@dataclass(frozen=True)
class Job:
    """A distillation that is understood: what is trained on what.

    Attributes:
        request: What was asked for.
        place: Where its parts lie.
        data: The images.
        student: The student.
        teacher: The teacher.
        methods: What is tried, as far as the teacher allows.
        tools: Folder of ``train.py``.
    """

    request: Request
    place: Place
    data: Data
    student: Network
    teacher: TeacherChoice
    methods: list[str]
    tools: Path

    @property
    def batch_size(self) -> int:
        """Images of a step, no more than there are."""
        usual = BATCH_SIZES[0] if self.data.is_small else BATCH_SIZES[1]
        return min(self.request.batch_size or usual, len(self.data.splits['train']))

    @property
    def steps(self) -> int:
        """Steps of an epoch."""
        return max(len(self.data.splits['train']) // self.batch_size, 1)

    def training(self, epochs: int) -> Training:
        """How networks are trained, in so many epochs."""
        workers = min((os.cpu_count() or 1) // 2, WORKERS) if not self.data.is_small else 0
        return Training(epochs, self.batch_size, workers)

    def write(self, place: Place, settings: Sequence[Setting], epochs: int) -> None:
        """Write the configs."""
        training = self.training(epochs)
        write_configs(place, self.data, self.student, self.teacher, settings, training)


def distil(
    request: Request,
    tools: Path,
    command: str,
    import_seconds: float,
    rerun: bool = False,
    plan_only: bool = False,
) -> str | None:
    """Do all that is left of a distillation.

    Args:
        request: What is asked for.
        tools: Folder of ``train.py``.
        command: The command line, for report and model card.
        import_seconds: What a new process takes to import everything.
        rerun: Whether to put aside what the work dir holds, and begin anew.
        plan_only: Whether to stop when the plan is made.

    Returns:
        The summary; None if there is but a plan.

    Raises:
        ConfigError: If the request, the images, a network or the work dir is at fault, before
            anything is trained; or if no run could be finished.
    """
    begin = time.perf_counter() - import_seconds
    request.check()
    state = read_state(request.work_dir, rerun)
    check_same(request.work_dir, state, 'arguments', request.arguments)
    job = understand(request, tools)
    check_same(request.work_dir, state, 'data', job.data.counts)
    if 'plan' in state:
        plan, costs = plan_of(state['plan']), costs_of(state['costs'])
    else:
        costs = measure_all(job, import_seconds)
        costs = replace(costs, before=time.perf_counter() - begin)
        plan = make_plan(
            costs, job.methods, request.minutes, job.steps, request.epochs, request.settings
        )
    settings = settings_of(plan.methods, plan.rounds, job.batch_size)
    print(plan_in_words(job, plan, settings), flush=True)
    if plan_only:
        return None
    if 'plan' not in state:
        if rerun and (aside := put_aside(request.work_dir)):
            print(f'{request.work_dir} was put aside as {aside}', flush=True)
        begun = dict(arguments=request.arguments, data=job.data.counts)
        write_state(request.work_dir, begun)  # so that the folder is known as ours
        job.data.write(job.place.data)
        job.write(job.place, settings, plan.epochs)
        write_state(request.work_dir, dict(begun, plan=asdict(plan), costs=asdict(costs)))
    return carry_out(job, plan, costs, settings, command)


def plan_of(stored: dict[str, Any]) -> Plan:
    """A plan as it was stored."""
    own: dict[str, Any] = {
        key: tuple(value) if isinstance(value, list) else value for key, value in stored.items()
    }
    return Plan(**own)


def costs_of(stored: dict[str, Any]) -> Costs:
    """Costs as they were stored."""
    methods = {name: Cost(**own) for name, own in stored['methods'].items()}
    teacher = Cost(**stored['teacher']) if stored['teacher'] else None
    return Costs(**dict(stored, methods=methods, teacher=teacher))


def understand(request: Request, tools: Path) -> Job:
    """Look at the images, and find student and teacher.

    Raises:
        ConfigError: If something is wrong with them.
    """
    print(f'looking at the images in {request.images} ...', flush=True)
    data = look_at(request.images, request.seed, os.cpu_count() or 1, request.size)
    print(''.join(f'  {note}\n' for note in data.notes), flush=True)
    count = len(data.classes)
    name = request.student or default_student(data.size)
    student = network_of(name, request.student_checkpoint, count, data.size)
    teacher = choose_teacher(
        request.teacher or default_teacher(data.size),
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
    return Job(request, Place(request.work_dir), data, student, teacher, methods, tools)


def measure_all(job: Job, import_seconds: float) -> Costs:
    """Measure a few steps of each method, and of the teacher's training if there is one.

    Raises:
        ConfigError: If a network cannot be built, or does not take the images.
    """
    print('measuring a few steps of each method: ', end='', flush=True)
    first = settings_of(job.methods, 1, job.batch_size)
    with tempfile.TemporaryDirectory() as folder:
        place = Place(Path(folder))
        job.data.write(place.data)
        job.write(place, first, 1)
        teacher, stand_in = None, None
        if job.teacher.network is not None:
            config = place.config('teacher')
            teacher = measure(config, import_seconds)
            stand_in = stand_in_teacher(str(config), place.folder)
        methods = {}
        for each in first:
            cost = measure(place.config(each.name), import_seconds, stand_in)
            methods[each.method] = cost
            print(f'{each.method} {cost.epoch / job.steps:.2g} s, ', end='', flush=True)
    print('done', flush=True)
    images = job.steps * job.batch_size
    student = methods[LABELS].epoch
    # a training step takes about three times as long as the answer that the teacher gives in it
    answers = [each.epoch - student for name, each in methods.items() if name != LABELS]
    guide = teacher.epoch if teacher else 3 * max(min(answers, default=student), 0.0)
    return Costs(
        methods,
        teacher,
        settings_by_method(job.batch_size),
        hand_over=IMPORTS * import_seconds,
        report=(ASKED_TEACHER * guide + ASKED_STUDENTS * student) / images,
    )


def plan_in_words(job: Job, plan: Plan, settings: Sequence[Setting]) -> str:
    """What will be done, before it is."""
    runs = len(settings) + (job.teacher.network is not None)
    lines = [
        f'student: {job.student.about}',
        f'teacher: {job.teacher.about}',
        f'plan: {runs} runs of {plan.epochs} epochs of {job.steps} steps, about '
        f'{in_words(plan.seconds)} of {job.request.minutes:g} min: '
        f'{", ".join(each.name for each in settings)}',
        *plan.notes,
    ]
    return '\n'.join(lines)


def carry_out(job: Job, plan: Plan, costs: Costs, settings: Sequence[Setting], command: str) -> str:
    """Train, choose, test and hand over.

    Raises:
        ConfigError: If the teacher or the labels alone could not be trained.
    """
    place, request = job.place, job.request
    study = Study(
        'compare',
        place.runs,
        place.runs / 'compare',
        {each.name: Arm(str(place.config(each.name))) for each in settings},
        [request.seed],
        question=f'Which student of the images in {request.images} is shipped?',
        secondary=[],
    )
    runner = StudyRunner(study, job.tools, threads=os.cpu_count() or 1)
    times, spent = validations(plan.epochs), 0.0
    if costs.teacher is not None:
        spent = train_teacher(runner, place, request.seed, costs.teacher.of(plan.epochs, times))
    study.check()
    runs = [study.run(each.name, request.seed) for each in settings]
    estimates = [costs.methods[each.method].of(plan.epochs, times) for each in settings]
    runner.refuse_others(runs)
    outcome = run_all(runner, runs, estimates, costs.for_runs(request.minutes), plan.epochs, spent)
    keep(study)
    print('choosing by the validation images ...', flush=True)
    entry = teacher_entry(place, job.teacher, job.student, plan.epochs)
    done = [run for run in runs if run.arm in outcome.finished]
    left = 60 * request.minutes - costs.before - spent - outcome.seconds
    return hand_over(job, costs, left, settings, outcome, done, entry, command)


def train_teacher(runner: StudyRunner, place: Place, seed: int, estimate: float) -> float:
    """Train the teacher, as far as that is left to do.

    Returns:
        Seconds that it took.
    """
    run = Run('teacher', str(place.config('teacher')), seed, place.teacher)
    runner.refuse_others([run])
    if not run.is_done():
        print(f'the teacher first: about {in_words(estimate)}', flush=True)
    runner.finish(run)
    return seconds_of(run)


def hand_over(
    job: Job,
    costs: Costs,
    seconds: float,
    settings: Sequence[Setting],
    outcome: Outcome,
    runs: Sequence[Run],
    entry: dict[str, Any],
    command: str,
) -> str:
    """Choose, test, report, export, and say what has come of it."""
    place = job.place
    choice = choose_student(runs, outcome, entry)
    tests = look_at_tests(place, choice, runs, entry)
    share = costs.share(seconds)
    needed = in_words(costs.hand_over + share * costs.report)
    print(f'chosen: {choice.name}; report and export take about {needed}', flush=True)
    about = next(each.about for each in settings if each.name == choice.name)
    report = attempt(
        'the report', partial(write_report, place, choice, runs, entry, command, share)
    )
    card = {'How it was chosen': f'{about}. {RULE}', 'Test images': tests_in_words(choice, tests)}
    exported = attempt('the export', partial(export, place, choice, runs, command, card))
    parts = dict(
        Student=f'{choice.name}: {about}. {job.student.about}',
        Teacher=job.teacher.about,
        Images=f'{job.data.root}: {job.data.notes[0]}',
    )
    if exported:
        parts |= exported_in_words(exported)
    if report:
        parts['Report'] = str(report)
    parts['Again'] = f'`{command}`'
    methods = {each.name: each.method for each in settings}
    text = summary(choice, methods, outcome, tests, parts)
    with whole_file(place.folder / 'summary.md') as part:
        part.write_text(text, encoding='utf-8')
    return text


def exported_in_words(exported: dict[str, Any]) -> dict[str, str]:
    """Where the student lies, how large its files are and how fast they answer."""
    files = exported['figures']['files']
    words = []
    for name, own in files.items():
        times = own.get('latency_ms')
        fast = f' ({times["1"]:.2g} ms an image on one thread)' if times else ''
        words.append(f'{name} {own["bytes"] / 1e6:.2f} MB{fast}')
    return {'Files': f'{exported["folder"]}: {", ".join(words)}'}
