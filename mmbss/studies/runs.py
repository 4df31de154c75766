"""One run of a study: a config, trained with one seed in a folder and a process of its own."""

import argparse
import copy
import json
import os
import reprlib
import subprocess
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from filelock import FileLock, Timeout
from mmengine.config import Config
from mmengine.utils import apply_to

from mmbss.engine.cli.config import load_config, merge_common_arguments, merge_options
from mmbss.engine.config_checks.building import complete
from mmbss.engine.config_checks.rules import setting, settings_in
from mmbss.engine.default_hooks import SAFETY_HOOKS, add_safety_hooks
from mmbss.engine.errors import ConfigError, MissingFileError, first_of, refuse
from mmbss.engine.files.atomic import whole_file
from mmbss.engine.files.config_text import assignment
from mmbss.engine.resume import read_pointer
from mmbss.engine.trial.validation import HANDS_OVER
from mmbss.studies.provenance import device_name, git_commit
from mmbss.studies.run_logs import RUN_FILE, is_run, logged_seconds, read_info, read_json, read_run
from mmbss.studies.settings import (
    by_dotted_key,
    differences,
    digest_of,
    is_literal,
    options_in_words,
    what_counts,
    without_later_hooks,
)
from mmbss.studies.starting_files import differences_of, digest_of_start


@dataclass(frozen=True)
class Run:
    """One config, trained with one seed in a folder of its own.

    Attributes:
        arm: Name of what it is a run of.
        config: Path of the config file.
        seed: Its seed.
        folder: Its work dir.
        options: Overrides of the config by dotted key.
    """

    arm: str
    config: str
    seed: int
    folder: Path
    options: Mapping[str, Any] = field(default_factory=dict, hash=False)

    def __str__(self) -> str:
        return f'{self.arm}, seed {self.seed}'

    @cached_property
    def merged(self) -> Config:
        """Its complete config, as ``tools/train.py`` puts it together.

        Raises:
            ConfigError: If the config cannot be read, or an option does not fit.
        """
        cfg = copy.deepcopy(self._with_options)
        add_safety_hooks(cfg)
        return cfg

    # read once: what is trained is what was checked, also where the file is edited meanwhile
    @cached_property
    def _with_options(self) -> Config:
        if '::' not in self.config and not Path(self.config).is_file():
            raise MissingFileError(f'{self.arm}: no config file {self.config!r}')
        said = argparse.Namespace(
            launcher='none',
            work_dir=str(self.folder),
            no_pin_memory=False,
            cfg_options={**dict(by_dotted_key(self.options)), 'randomness.seed': self.seed},
        )
        cfg = load_config(self.config)
        merge_common_arguments(cfg, said)
        merge_options(cfg, said)
        return cfg

    def written(self) -> str:
        """The file that is trained: its complete config, but for the safety hooks.

        Raises:
            ConfigError: If a setting is nothing that can be read again, such as infinity.
        """
        content = self._with_options.to_dict()
        content = apply_to(content, lambda part: isinstance(part, np.generic), np.generic.item)
        refuse(
            f'{path}={reprlib.repr(value)} cannot be read again from the config of a run: write '
            'a finite number or a text, or take it out with del if it has been imported'
            for path, value in settings_in(content)
            if not isinstance(value, (dict, list, tuple)) and not is_literal(value)
        )
        # mmengine's own dump would sort the terms of a loss, and with them what they draw
        return ''.join(assignment(key, value) for key, value in content.items())

    @property
    def digest(self) -> str:
        """Fingerprint of its complete config without the seed; see :attr:`merged`."""
        settings = what_counts(self.merged)
        settings['randomness'].pop('seed')
        return digest_of(settings)

    @property
    def teacher(self) -> str | None:
        """Fingerprint of the files that teacher and student start from, and of the user's modules.

        None where there are none.
        """
        return digest_of_start(self.merged)

    @property
    def log(self) -> Path:
        """What its training prints."""
        return self.folder / 'output.log'

    @property
    def info(self) -> dict[str, Any]:
        """What was written about it by :meth:`train`, perhaps by an earlier call."""
        return read_info(self.folder)

    def is_done(self) -> bool:
        """Whether it was trained to the end by an earlier call.

        Raises:
            ConfigError: If the folder holds the training of another config or teacher.
        """
        others = []
        if is_run(self.folder):
            configs = copy.deepcopy([read_run(self.folder).config, self.merged])
            for cfg in configs:
                complete(cfg)
            found, asked = map(what_counts, configs)
            found = without_later_hooks(found, asked)
            others = [
                f'{path} is {there} there, {here} here'
                for path, there, here in differences(found, asked)
            ]
        files = differences_of(self.info.get('teacher'), self.teacher)
        others += [f'{each} has changed' for each in files]
        if others:
            raise ConfigError(
                f'{self}: {self.folder} belongs to another version of {self.config} or to other '
                f'options: {first_of(others, between="; ")}: --rerun puts '
                'the folder aside and trains anew'
            )
        return 'seconds' in self.info

    def train(self, tool: Path, threads: int) -> None:
        """Train to the end, resuming what is there.

        A process that a killed call has left behind is waited for. See :meth:`call`.
        """
        self.folder.mkdir(parents=True, exist_ok=True)
        # two calls of compare.py may come to it at once
        with FileLock(self.folder / '.study.lock'):
            wait_for(self.folder)
            if 'seconds' not in self.info:
                self._train(tool, threads)

    def _train(self, tool: Path, threads: int) -> None:
        print(f'{self}: training, log in {self.log}', flush=True)
        now = dict(commit=git_commit(Path(__file__).parents[1]), device=device_name())
        before: dict[str, str] = {}
        if is_run(self.folder):
            before = {name: self.info.get(name, 'unknown') for name in now}
            now = {name: after(before[name], now[name]) for name in now}
        info = dict(
            config=self.config,
            options=options_in_words(self.options),
            seed=self.seed,
            teacher=self.teacher,
            **now,
        )
        self._store(info)
        seconds, trained = logged_seconds(self.folder), read_pointer(self.folder)
        start = time.time() - seconds
        config = self.folder / f'{Path(self.config).stem}.py'
        config.write_text(self.written())
        flags = [str(config), '--resume', '--work-dir', str(self.folder)]
        self.call(tool, flags, self.log, threads)
        if before and read_pointer(self.folder) == trained:  # all of it had been trained before
            self._store(dict(info, **before, seconds=round(seconds, 1)))
            return
        self._store(dict(info, seconds=round(time.time() - start, 1)))

    def measure(self, evaluators: list[Any], tool: Path, threads: int) -> dict[str, float]:
        """Ask metrics of the last checkpoint, on the test samples of its config.

        Args:
            evaluators: Configs of metrics, in the place of ``test_evaluator``.
            tool: See :meth:`call`.
            threads: See :meth:`call`.
        """
        logged = read_run(self.folder)
        checkpoint, folder = logged.checkpoint(), self.folder / 'measured'
        logged.config.test_evaluator = evaluators
        hooks = logged.config.default_hooks
        for name in SAFETY_HOOKS:  # of trainings
            hooks.pop(name, None)
        # evaluators may ask the model, of which the training knew nothing
        own = [*hooks.values(), *logged.config.get('custom_hooks', [])]
        if HANDS_OVER not in [each.get('type') for each in own if each]:
            hooks.model_metrics = dict(type=HANDS_OVER)
        folder.mkdir(exist_ok=True)
        logged.config.dump(str(folder / 'config.py'))
        out = folder / 'metrics.json'
        command = [str(folder / 'config.py'), str(checkpoint), '--work-dir', str(folder)]
        command += ['--out', str(out), '--out-item', 'metrics']
        self.call(tool, command, self.folder / 'measured.log', threads)
        values = read_json(out).items()
        return {name: float(value) for name, value in values if isinstance(value, int | float)}

    def call(self, tool: Path, flags: list[str], log: Path, threads: int) -> None:
        """Run a tool in a process of its own.

        Args:
            tool: ``tools/train.py`` or ``tools/test.py``.
            flags: Its command line.
            log: What it prints is added to this file.
            threads: Threads of torch, unless ``OMP_NUM_THREADS`` says otherwise.

        Raises:
            ConfigError: If it fails; with the last line of its log.
        """
        with log.open('a') as output:
            code = subprocess.run(  # noqa: S603 (the command is our own tool)
                [sys.executable, str(tool), *flags],
                stdout=output,
                stderr=subprocess.STDOUT,
                env={'OMP_NUM_THREADS': str(threads), **os.environ},
                check=False,
            ).returncode
        if code:
            reason = log.read_text().strip().splitlines()[-1:]
            raise ConfigError(f'{self}: {"".join(reason)} (see {log})')

    def _store(self, info: dict[str, Any]) -> None:
        with whole_file(self.folder / RUN_FILE) as part:
            part.write_text(json.dumps(info, indent=2))


def after(before: str, now: str) -> str:
    """What a resumed run names: all it was trained at, one after the other."""
    return before if before.endswith(now) else f'{before}, then {now}'


def wait_for(folder: Path) -> None:
    """Wait until no training uses a work dir."""
    lock = FileLock(folder / '.lock')
    try:
        lock.acquire(timeout=0)
    except Timeout:
        print(f'{folder} is in use: waiting for the training in it', flush=True)
        lock.acquire()
    lock.release()


def check_place(run: Run) -> None:
    """Refuse a config that leads a run to other weights or folders than its results speak of.

    Raises:
        ConfigError: With a line for each setting.
    """
    cures = {
        'load_from': 'start from weights with init_cfg of the model',
        'resume': 'leave it out, runs go on by themselves',
        'default_hooks.checkpoint.out_dir': 'leave it out',
    }
    refuse(
        f'{key}={value!r} is not told apart in the results of a study: {cure}'
        for key, cure in cures.items()
        if (value := setting(run.merged, key))
    )
