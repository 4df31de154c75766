"""The runs of a comparison: each config with each seed, in a process of its own."""

import hashlib
import json
import os
import subprocess
import sys
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mmbss.engine.atomic import whole_file
from mmbss.engine.cli import load_config
from mmbss.engine.errors import ConfigError, MissingFileError
from mmbss.report.run_logs import RUN_FILE, LoggedRun, logged_seconds, read_run


@dataclass(frozen=True)
class Run:
    """One config, trained with one seed in a folder of its own.

    Attributes:
        config: Path of the config file.
        seed: Its seed.
        folder: Its work dir.
        options: Overrides of the config, ``KEY=VALUE``.
    """

    config: str
    seed: int
    folder: Path
    options: tuple[str, ...] = ()

    def __str__(self) -> str:
        return f'{Path(self.config).stem}, seed {self.seed}'

    def digest(self) -> str:
        """Fingerprint of config and teacher, which tells whether a result belongs to them.

        Raises:
            ConfigError: If the config cannot be read.
        """
        cfg = load_config(self.config)
        fingerprint = hashlib.sha256((cfg.pretty_text + ' '.join(self.options)).encode())
        teacher = Path(cfg.get('model', {}).get('teacher', {}).get('checkpoint', ''))
        if teacher.is_file():
            fingerprint.update(teacher.read_bytes())
        return fingerprint.hexdigest()[:16]

    def is_done(self) -> bool:
        """Whether it was trained to the end by an earlier call.

        Raises:
            ConfigError: If the folder holds the result of another config.
        """
        path = self.folder / RUN_FILE
        if not path.is_file():
            return False
        stored = json.loads(path.read_text())
        if stored['digest'] != self.digest():
            raise ConfigError(
                f'{path} belongs to another version of {self.config} or of its teacher, or to '
                f'other --cfg-options: remove {self.folder} or choose another --work-dir'
            )
        return 'seconds' in stored

    def train(self, tool: Path, threads: int) -> None:
        """Train to the end, resuming what is there.

        Args:
            tool: ``tools/train.py``.
            threads: Threads of torch, unless ``OMP_NUM_THREADS`` says otherwise.

        Raises:
            ConfigError: If the training fails; names the log.
        """
        log = self.folder / 'output.log'
        print(f'{self}: training, log in {log}', flush=True)
        info: dict[str, Any] = dict(config=self.config, seed=self.seed, digest=self.digest())
        self._store(info)
        command = [sys.executable, str(tool), self.config, '--resume']
        command += ['--work-dir', str(self.folder)]
        command += ['--cfg-options', f'randomness.seed={self.seed}', *self.options]
        start = time.time() - logged_seconds(self.folder)
        with log.open('a') as output:
            code = subprocess.run(  # noqa: S603 (the command is our own tool)
                command,
                stdout=output,
                stderr=subprocess.STDOUT,
                env={'OMP_NUM_THREADS': str(threads), **os.environ},
                check=False,
            ).returncode
        if code:
            reason = log.read_text().strip().splitlines()[-1:]
            raise ConfigError(f'{self}: {"".join(reason)} (see {log})')
        self._store(dict(info, seconds=round(time.time() - start, 1)))

    def _store(self, info: dict[str, Any]) -> None:
        with whole_file(self.folder / RUN_FILE) as part:
            part.write_text(json.dumps(info, indent=2))


def check_runs(runs: Sequence[Run]) -> None:
    """Refuse what cannot be trained or shown side by side.

    Raises:
        ConfigError: If two runs have the same name and seed, a config cannot be read, or a folder
            holds the result of another one.
        MissingFileError: If a config does not exist.
    """
    folders = [run.folder for run in runs]
    for run in runs:
        if not Path(run.config).is_file():
            raise MissingFileError(f'no config file {run.config!r}')
        run.digest()
        run.is_done()
        if folders.count(run.folder) > 1:
            raise ConfigError(f'two runs are called {run}: rename a config or drop a seed')


def finish(run: Run, metric: str, tool: Path, threads: int) -> LoggedRun:
    """Train a run, unless it is done, and read what it has logged.

    Raises:
        ConfigError: If the training fails, or has never logged the metric.
    """
    is_new = not run.is_done()
    if is_new:
        run.train(tool, threads)
    logged = read_run(run.folder)
    value = logged.last_value(metric)
    if is_new:
        print(f'{run}: {metric} {value:.2f}, {logged.info["seconds"]:.0f} s', flush=True)
    return logged


def finish_all(
    runs: Sequence[Run], metric: str, tool: Path, threads: int, jobs: int
) -> tuple[list[LoggedRun], list[str]]:
    """Finish runs, ``jobs`` at the same time; see :func:`finish`.

    Returns:
        Those that are done now, in their order, and what went wrong with the others.
    """
    with ThreadPoolExecutor(jobs) as pool:
        futures = [pool.submit(finish, run, metric, tool, threads) for run in runs]
    logged, errors = [], []
    for future in futures:
        try:
            logged.append(future.result())
        except ConfigError as error:
            errors.append(str(error))
    return logged, errors
