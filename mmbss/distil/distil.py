"""All steps from a folder of images to a shipped student, in their order."""

import tempfile
import time
from collections.abc import Sequence
from dataclasses import asdict, replace
from functools import partial
from pathlib import Path
from typing import Any

from mmbss.distil.choose import LABELS, RULE
from mmbss.distil.configs import Paths, teacher_entry, write_configs
from mmbss.distil.finish import attempt, choose_student, export, look_at_tests, write_report
from mmbss.distil.job import Job, Request, understand
from mmbss.distil.methods import Setting, settings_to_try
from mmbss.distil.plan import (
    ASKED_STUDENTS,
    ASKED_TEACHER,
    IMPORTS,
    TEACHER,
    Costs,
    Plan,
    make_plan,
)
from mmbss.distil.running import run_all, seconds_of
from mmbss.distil.state import FILE, check_same, read_state, write_state
from mmbss.distil.summary import summary, tests_in_words
from mmbss.distil.timing import Cost, measure, stand_in_teacher
from mmbss.engine.errors import ConfigError
from mmbss.engine.files.atomic import whole_file
from mmbss.engine.words import counted
from mmbss.engine.work_dir import claimed, put_aside
from mmbss.export.formats import cpu_count
from mmbss.export.measures import file_in_words
from mmbss.studies.files import keep
from mmbss.studies.progress import duration
from mmbss.studies.runner import StudyRunner
from mmbss.studies.runs import Run
from mmbss.studies.study import Arm, Study


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
    folder = request.work_dir
    state = read_state(folder, rerun)
    check_same(folder, state, 'arguments', request.arguments)
    check_same(folder, state, 'weights', request.weights)
    job = understand(request)
    check_same(folder, state, 'data', job.data.counts)
    check_same(folder, state, 'networks', job.networks)
    if 'plan' in state:
        plan, costs = stored_plan(folder, state)
    else:
        costs = measure_all(job, import_seconds)
        costs = replace(costs, before=time.perf_counter() - begin)
        plan = make_plan(
            costs, job.methods, request.minutes, job.steps, request.epochs, request.settings
        )
    settings = settings_to_try(plan.methods, plan.rounds)
    print(plan_in_words(job, plan, settings), flush=True)
    if plan_only:
        return None
    begun = dict(
        arguments=request.arguments,
        weights=request.weights,
        data=job.data.counts,
        networks=job.networks,
    )
    if 'plan' not in state:
        if rerun and (aside := put_aside(folder)):
            print(f'{folder} was put aside as {aside}', flush=True)
        if not (folder / FILE).is_file():
            write_state(folder, begun)  # so that the folder is known as ours
    with claimed(folder):
        if 'plan' not in state:
            if 'plan' in read_state(folder):
                raise ConfigError(
                    f'another call has made a plan in {folder} meanwhile: call again to go on with '
                    'it, or choose another --work-dir'
                )
            paths = Paths(folder)
            job.data.write(paths.data)
            write_configs(paths, job, settings, plan.epochs)
            write_state(folder, dict(begun, plan=asdict(plan), costs=asdict(costs)))
        return carry_out(job, plan, costs, settings, tools, command)


def stored_plan(folder: Path, state: dict[str, Any]) -> tuple[Plan, Costs]:
    """The plan of an earlier call.

    Raises:
        ConfigError: If it is damaged, or of another version.
    """
    try:
        trainings = {name: Cost(*own) for name, own in state['costs']['trainings'].items()}
        return Plan(**state['plan']), Costs(**dict(state['costs'], trainings=trainings))
    except (AttributeError, KeyError, TypeError) as error:
        raise ConfigError(
            f'{folder / FILE} is damaged, or of another version: --rerun puts the work dir aside'
        ) from error


def measure_all(job: Job, import_seconds: float) -> Costs:
    """Measure a few steps of each method, and of the teacher's training if there is one.

    Raises:
        ConfigError: If a network cannot be built, or does not take the images.
    """
    print('measuring a few steps of each method: ', end='', flush=True)
    first = settings_to_try(job.methods, 1)
    trainings = {}
    with tempfile.TemporaryDirectory() as folder:
        paths = Paths(Path(folder))
        job.data.write(paths.data)
        write_configs(paths, job, first, 1)
        if job.teacher.network is not None:
            config = paths.config('teacher')
            trainings[TEACHER] = measure(config, import_seconds)
            stand_in_teacher(config, Path(teacher_entry(paths, job, 1)['checkpoint']))
        for each in first:
            cost = measure(paths.config(each.name), import_seconds)
            trainings[each.method] = cost
            print(f'{each.method} {cost.epoch / job.steps:.2g} s, ', end='', flush=True)
    print('done', flush=True)
    student = trainings[LABELS].epoch
    if TEACHER in trainings:
        guide = trainings[TEACHER].epoch
    else:  # a training step takes about three times as long as the answer that it gives in one
        answers = [trainings[name].epoch - student for name in job.methods if name != LABELS]
        guide = 3 * max(min(answers, default=student), 0.0)
    images = job.steps * job.batch_size
    return Costs(
        trainings,
        hand_over=IMPORTS * import_seconds,
        report=(ASKED_TEACHER * guide + ASKED_STUDENTS * student) / images,
    )


def plan_in_words(job: Job, plan: Plan, settings: Sequence[Setting]) -> str:
    """What will be done, before it is."""
    runs = counted(len(settings) + (job.teacher.network is not None), 'run')
    epochs, wanted = counted(plan.epochs, 'epoch'), job.request.batch_size
    lines = [
        f'student: {job.student.about}',
        f'teacher: {job.teacher.about}',
        f'plan: {runs} of {epochs} of {counted(job.steps, "step")}, about '
        f'{duration(plan.seconds)} of {job.request.minutes:g} min: '
        f'{", ".join(each.name for each in settings)}',
        *plan.notes,
    ]
    if wanted and wanted > job.batch_size:
        lines.append(
            f'--batch-size {wanted}: all {job.batch_size} training images, there are no more'
        )
    return '\n'.join(lines)


def carry_out(
    job: Job, plan: Plan, costs: Costs, settings: Sequence[Setting], tools: Path, command: str
) -> str:
    """Train, choose, test and hand over.

    Raises:
        ConfigError: If the teacher or the labels alone could not be trained.
    """
    paths, request = Paths(job.request.work_dir), job.request
    study = Study(
        'compare',
        paths.runs,
        paths.runs / 'compare',
        {each.name: Arm(str(paths.config(each.name))) for each in settings},
        [request.seed],
        question=f'Which student of the images in {request.images} is shipped?',
        secondary=[],
    )
    runner = StudyRunner(study, tools, threads=cpu_count())
    seconds = costs.for_runs(request.minutes)
    left = 60 * request.minutes - costs.before
    if job.teacher.network is not None:
        spent = train_teacher(runner, paths, request.seed, costs.trainings[TEACHER].of(plan.epochs))
        seconds, left = seconds - spent, left - spent
    study.check()
    runs = [study.run(each.name, request.seed) for each in settings]
    runner.refuse_others(runs)
    estimates = [costs.trainings[each.method].of(plan.epochs) for each in settings]
    outcome = run_all(runner, runs, estimates, seconds)
    keep(study)
    print('choosing by the validation images ...', flush=True)
    done = [run for run in runs if run.arm in outcome.finished]
    entry = teacher_entry(paths, job, plan.epochs)
    choice = choose_student(done, outcome, entry)
    tests = look_at_tests(paths, choice, done, entry)
    share = costs.share(left - outcome.seconds)
    needed = duration(costs.hand_over + share * costs.report)
    print(f'chosen: {choice.name}; report and export take about {needed}', flush=True)
    report = attempt('the report', partial(write_report, paths, choice, command, share))
    about = next(each.about for each in settings if each.name == choice.name)
    card = {'How it was chosen': f'{about}. {RULE}', 'Test images': tests_in_words(choice, tests)}
    shipped = attempt('the export', partial(export, paths, choice, done, command, card))
    parts = dict(
        Student=f'{choice.name}: {about}. {job.student.about}',
        Teacher=job.teacher.about,
        Images=f'{job.data.root}: {job.data.notes[0]}',
    )
    if shipped:
        said = [f'{name} {file_in_words(file)}' for name, file in shipped['files'].items()]
        said += [f'no {kind}: {problem}' for kind, problem in shipped['problems'].items()]
        parts['Files'] = f'{paths.student}: {"; ".join(said)}'
    if report:
        parts['Report'] = str(report)
    parts['Again'] = f'`{command}`'
    methods = {each.name: each.method for each in settings}
    text = summary(choice, methods, outcome, tests, parts)
    with whole_file(paths.folder / 'summary.md') as part:
        part.write_text(text, encoding='utf-8')
    return text


def train_teacher(runner: StudyRunner, paths: Paths, seed: int, estimate: float) -> float:
    """Train the teacher, as far as that is left to do.

    Returns:
        Seconds that it took.
    """
    run = Run('teacher', str(paths.config('teacher')), seed, paths.teacher)
    runner.refuse_others([run])
    if not run.is_done():
        print(f'the teacher first: about {duration(estimate)}', flush=True)
    runner.finish(run)
    return seconds_of(run)
