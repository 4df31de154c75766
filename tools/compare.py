r"""Run several configs over several seeds and write one table.

    python tools/compare.py configs/kd/kd_*_digits.py configs/bss/bss_*_digits.py \
        --teacher configs/baseline/resnet14_1xb64-30e_digits.py --seeds 0 1 2 --jobs 2

Every run goes through tools/train.py in a process of its own. Runs that are done are skipped,
interrupted ones resumed. The figure of a run is that of its last epoch, never of its best; the
table gives the mean and the standard deviation (n - 1) over the seeds. It is printed and written
to WORK_DIR/compare.md and compare.json, with a plot in compare.svg.
"""

import argparse
import copy
import hashlib
import json
import os
import statistics
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import mmengine
from mmengine.registry import DefaultScope

from mmbss.distillers.classifiers import load_model_config
from mmbss.engine.cli import load_config
from mmbss.engine.errors import ConfigError, MissingFileError, readable_errors
from mmbss.registry import MODELS
from mmbss.report.run_logs import logged_seconds, read_run
from mmbss.visualization import draw_accuracies, save_figure

TOOLS = Path(__file__).resolve().parent
RUN_FILE = 'run.json'


@dataclass(frozen=True)
class Run:
    """One config, trained with one seed in a folder of its own."""

    config: str
    seed: int
    folder: Path
    options: tuple[str, ...] = ()

    @property
    def name(self) -> str:
        """Name of the experiment, from that of the config file."""
        return Path(self.config).stem

    def digest(self) -> str:
        """Fingerprint of config and teacher, which tells whether a result belongs to them."""
        cfg = load_config(self.config)
        fingerprint = hashlib.sha256((cfg.pretty_text + ' '.join(self.options)).encode())
        teacher = Path(cfg.get('model', {}).get('teacher', {}).get('checkpoint', ''))
        if teacher.is_file():
            fingerprint.update(teacher.read_bytes())
        return fingerprint.hexdigest()[:16]

    def stored_result(self) -> dict[str, Any] | None:
        """Result of an earlier call, None if the run is not done.

        Raises:
            ConfigError: If the folder holds the result of another config.
        """
        path = self.folder / RUN_FILE
        if not path.is_file():
            return None
        result = json.loads(path.read_text())
        if result['digest'] != self.digest():
            raise ConfigError(
                f'{path} belongs to another version of {self.config} or of its teacher, or to '
                f'other --cfg-options: remove {self.folder} or choose another --work-dir'
            )
        return result if 'value' in result else None

    def execute(self, metric: str, threads: int) -> dict[str, Any]:
        """Train to the end, resuming what is there, and store the result.

        Raises:
            ConfigError: If training fails; names the log.
        """
        self.folder.mkdir(parents=True, exist_ok=True)
        print(
            f'{self.name}, seed {self.seed}: training, log in {self.folder}/output.log', flush=True
        )
        result: dict[str, Any] = dict(config=self.config, seed=self.seed, digest=self.digest())
        (self.folder / RUN_FILE).write_text(json.dumps(result, indent=2))
        log = self.folder / 'output.log'
        command = [sys.executable, str(TOOLS / 'train.py'), self.config, '--resume']
        command += ['--work-dir', str(self.folder)]
        command += ['--cfg-options', f'randomness.seed={self.seed}', *self.options]
        environment = dict(os.environ)
        environment.setdefault('OMP_NUM_THREADS', str(threads))
        start = time.time() - logged_seconds(self.folder)
        with log.open('a') as output:
            code = subprocess.run(  # noqa: S603 (the command is our own tool)
                command, stdout=output, stderr=subprocess.STDOUT, env=environment, check=False
            ).returncode
        if code:
            reason = log.read_text().strip().splitlines()[-1:]
            raise ConfigError(f'{self.name}, seed {self.seed}: {"".join(reason)} (see {log})')
        result |= dict(seconds=round(time.time() - start, 1), **last_epoch(self.folder, metric))
        (self.folder / RUN_FILE).write_text(json.dumps(result, indent=2))
        return result


def last_epoch(folder: Path, metric: str) -> dict[str, Any]:
    """Epoch, metric and time of an iteration at the end of the training in ``folder``.

    Raises:
        MissingFileError: If no training has logged there.
        ConfigError: If the run never logged the metric.
    """
    run = read_run(folder)
    return dict(
        value=run.last_value(metric),
        epoch=max(run.val_series(metric)),
        # a config without the timer hook logs no times
        ms_per_iteration=run.ms_per_iteration() or float('nan'),
    )


def count_parameters(config: str) -> int:
    """Trainable parameters of the (student's) network."""
    with DefaultScope.overwrite_default_scope('mmpretrain'):
        model = MODELS.build(copy.deepcopy(load_model_config(config)))
    return sum(parameter.numel() for parameter in model.parameters())


@dataclass(frozen=True)
class Row:
    """A line of the table: one config over its seeds."""

    name: str
    parameters: int
    epoch: int
    mean: float
    standard_deviation: float | None
    values: dict[int, float]
    ms_per_iteration: float
    seconds: float
    folder: str


def summarise(results: dict[Run, dict[str, Any]]) -> list[Row]:
    """One row for each config, in the order given."""
    rows = []
    for config in dict.fromkeys(run.config for run in results):
        own = {run: result for run, result in results.items() if run.config == config}
        first = next(iter(own))
        values = {run.seed: result['value'] for run, result in own.items()}
        rows.append(
            Row(
                name=first.name,
                parameters=count_parameters(config),
                epoch=max(result['epoch'] for result in own.values()),
                mean=statistics.mean(values.values()),
                standard_deviation=statistics.stdev(values.values()) if len(own) > 1 else None,
                values=values,
                ms_per_iteration=statistics.median(r['ms_per_iteration'] for r in own.values()),
                seconds=statistics.mean(result['seconds'] for result in own.values()),
                folder=str(first.folder if len(own) == 1 else first.folder.parent),
            )
        )
    return rows


def markdown(rows: list[Row], metric: str) -> str:
    """The table in Markdown."""
    lines = [
        f'| experiment | parameters | {metric}, last epoch | seeds '
        '| ms / iteration | s / run | logs |',
        '|---|---:|---:|---|---:|---:|---|',
    ]
    for row in rows:
        spread = '' if row.standard_deviation is None else f' ± {row.standard_deviation:.2f}'
        values = ', '.join(f'{seed}: {value:.2f}' for seed, value in row.values.items())
        lines.append(
            f'| {row.name} | {row.parameters:,} | {row.mean:.2f}{spread} | {values} | '
            f'{row.ms_per_iteration:.1f} | {row.seconds:.0f} | {row.folder} |'
        )
    return '\n'.join(lines) + '\n'


def parse_args() -> argparse.Namespace:
    """Parse the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument('configs', nargs='+', help='config files to compare')
    parser.add_argument(
        '--teacher',
        help='config to train first and once, into work_dirs/<its name>, where the distilling '
        'configs look for their teacher',
    )
    parser.add_argument('--seeds', nargs='+', type=int, default=[0, 1, 2])
    parser.add_argument('--jobs', type=int, default=1, help='runs at the same time')
    parser.add_argument('--work-dir', type=Path, default=Path('work_dirs/compare'))
    parser.add_argument('--metric', default='accuracy/top1', help='metric of the table')
    parser.add_argument(
        '--cfg-options', nargs='+', default=[], metavar='KEY=VALUE', help='for all but the teacher'
    )
    return parser.parse_args()


def main() -> None:
    """Run and compare."""
    args = parse_args()
    options = tuple(args.cfg_options)
    threads = max((os.cpu_count() or 1) // args.jobs, 1)
    runs = [
        Run(config, seed, args.work_dir / Path(config).stem / f'seed_{seed}', options)
        for config in args.configs
        for seed in args.seeds
    ]
    with readable_errors():
        check_distinct(runs)
        results = {run: run.stored_result() for run in runs}
        if args.teacher:
            teacher = Run(args.teacher, args.seeds[0], Path('work_dirs') / Path(args.teacher).stem)
            stored = teacher.stored_result() or report(teacher, args.metric, threads)
            results = {teacher: stored, **results}
    with ThreadPoolExecutor(args.jobs) as pool:
        jobs = {
            run: pool.submit(report, run, args.metric, threads)
            for run, result in results.items()
            if result is None
        }
    errors = [str(job.exception()) for job in jobs.values() if job.exception()]
    results |= {run: job.result() for run, job in jobs.items() if not job.exception()}
    if not any(results.values()):
        sys.exit('error: ' + '\n       '.join(errors))
    rows = summarise({run: result for run, result in results.items() if result})
    table = markdown(rows, args.metric)
    args.work_dir.mkdir(parents=True, exist_ok=True)
    (args.work_dir / 'compare.md').write_text(table)
    mmengine.dump([asdict(row) for row in rows], args.work_dir / 'compare.json', indent=2)
    values = {row.name: list(row.values.values()) for row in rows}
    figure = draw_accuracies(values, f'{args.metric}, last epoch')
    save_figure(figure, args.work_dir / 'compare.svg')
    print(f'\n{table}\nwritten to {args.work_dir}/compare.md, compare.json and compare.svg')
    if errors:
        sys.exit('error: ' + '\n       '.join(errors))


def check_distinct(runs: list[Run]) -> None:
    """Refuse runs that would share a folder, and configs that do not load.

    Raises:
        ConfigError: If two runs have the same name and seed.
        MissingFileError: If a config does not exist.
    """
    folders = [run.folder for run in runs]
    for run in runs:
        if not Path(run.config).is_file():
            raise MissingFileError(f'no config file {run.config!r}')
        run.digest()
        if folders.count(run.folder) > 1:
            raise ConfigError(
                f'two runs are called {run.name}, seed {run.seed}: rename a config or drop a seed'
            )


def report(run: Run, metric: str, threads: int) -> dict[str, Any]:
    """Execute a run and print a line about it."""
    result = run.execute(metric, threads)
    print(
        f'{run.name}, seed {run.seed}: {metric} {result["value"]:.2f} after epoch '
        f'{result["epoch"]}, {result["seconds"]:.0f} s',
        flush=True,
    )
    return result


if __name__ == '__main__':
    main()
