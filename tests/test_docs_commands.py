"""The commands of the pages: what they name is there, and those of the tour run."""

import argparse
import copy
import importlib
import os
import re
import runpy
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest
from mmengine.config import Config

import mmbss
from mmbss.engine.cli.config import merge_options
from mmbss.engine.commands import find_tools
from mmbss.engine.errors import ConfigError

ROOT = Path(mmbss.__file__).resolve().parents[1]
PAGES = [
    *(ROOT / name for name in ('README.md', 'CONTRIBUTING.md')),
    *(page for room in ('configs', 'studies', 'zoo') for page in ROOT.glob(f'{room}/**/README.md')),
    # docs/files and docs/_build are made
    *(page for page in ROOT.glob('docs/**/*.md') if not {'files', '_build'} & {*page.parts}),
]
TOUR = ROOT / 'docs' / 'get-started' / 'tour.md'
BASH_BLOCK = re.compile(r'^```bash\n(.*?)^```', re.M | re.S)
#: Of a program it writes the line and the words, a record each.
RECORD = r"""
command_not_found_handle() { printf '%s\037' "${BASH_LINENO[0]}" "$@"; printf '\036'; }
cd() { :; }; source() { :; }
"""
#: Programs of others, whose words are not looked at.
ELSEWHERE = {'git', 'ls', 'mim', 'pip', 'unzip'}
SCRIPT = re.compile(r'(tools|benchmarks)/\w+\.(py|sh)')
#: Where a checkpoint of a config lies after its training: config, epochs, epoch.
CHECKPOINT = re.compile(r'work_dirs/([\w-]+-(\d+)e_[\w-]+)/epoch_(\d+)\.pth')


@dataclass(frozen=True)
class Command:
    """Words of a command line, and the page and line where it stands."""

    page: Path
    line: int
    words: tuple[str, ...]

    def __str__(self):
        return f'{self.page.relative_to(ROOT)}:{self.line}: {" ".join(self.words)}'


def commands_of(page):
    """What the bash blocks of a page would run, one after the other.

    Bash itself expands the variables, braces and loops: a restricted one, which writes nowhere, and
    without a PATH, so that it finds no program to run.
    """
    text = page.read_text()
    code, end = RECORD.lstrip(), 0
    before = code.count('\n')
    for block in BASH_BLOCK.finditer(text):
        code += '\n' * text.count('\n', end, block.start(1)) + block[1]  # each keeps its line
        end = block.end(1)
    completed = subprocess.run(
        [shutil.which('bash'), '--restricted', '-s'],
        input=code.replace('.venv/bin/', '').replace('<this repository>', 'URL'),
        env=dict(PATH='/nowhere'),
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert not completed.stderr, f'{page}: {completed.stderr}'
    for record in completed.stdout.split('\036')[:-1]:
        line, *words = record.split('\037')[:-1]
        yield Command(page, int(line) - before, tuple(words))


@pytest.fixture(scope='module')
def commands():
    return [command for page in PAGES for command in commands_of(page)]


def started(words):
    """The scripts of the repository that a command starts, each with the arguments of it."""
    if words[0] in ELSEWHERE:
        return
    for place, word in enumerate(words):
        arguments = [word for word in words[place + 1 :] if word != 'OPTIONS']  # a placeholder
        if word == 'mmbss':
            script = find_tools().get(arguments.pop(0), Path('no such command'))
            script = ROOT / 'tools' / script.name
        elif SCRIPT.fullmatch(word):
            script = ROOT / word
        else:
            continue
        if script.name == 'dist_train.sh':
            script, arguments = ROOT / 'tools/train.py', [arguments[0], *arguments[2:]]
        elif script.name == 'slurm_train.sh':
            _, _, config, folder, *rest = arguments
            script, arguments = ROOT / 'tools/train.py', [config, '--work-dir', folder, *rest]
        yield script, arguments
        if script.name == 'launch.py':
            yield script.with_name(f'{arguments[1]}.py'), arguments[2:]
        return


class ParsedError(BaseException):
    """Ends a program that has read its command line, whatever it catches."""


def read_arguments(script, arguments):
    """What a program makes of its command line.

    Raises:
        SystemExit: If it refuses it.
    """
    parse = argparse.ArgumentParser.parse_args

    def stop(*args, **kwargs):
        raise ParsedError(parse(*args, **kwargs))

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(argparse.ArgumentParser, 'parse_args', stop)
        patch.setattr(sys, 'argv', [str(script), *arguments])
        patch.setattr(sys, 'path', [str(script.parent), *sys.path])
        with pytest.raises(ParsedError) as parsed:
            runpy.run_path(str(script), run_name='__main__')
    return parsed.value.args[0]


@pytest.fixture(scope='module')
def parsed(commands):
    """Each command that starts a script of the repository, with its arguments as it reads them.

    Of a command that is refused these are None.
    """
    found = []
    for command in commands:
        for script, arguments in started(command.words):
            try:
                found.append((command, read_arguments(script, arguments)))
            except (FileNotFoundError, SystemExit):
                found.append((command, None))
    return found


def listed(commands):
    return '\n'.join(map(str, commands))


def test_the_commands_of_a_page_are_read_as_a_shell_reads_them(tmp_path):
    page = tmp_path / 'page.md'
    page.write_text(
        'text\n```bash\nW=work  # where\nfor s in 0 1; do\n    X=1 python a{b,c}.py $W/$s \\\n'
        '        "d e"\ndone\n```\n```python\nno = command\n```\n'
        '```bash\nmake $W && .venv/bin/x\n```\n'
    )
    assert [(command.line, *command.words) for command in commands_of(page)] == [
        (5, 'python', 'ab.py', 'ac.py', 'work/0', 'd e'),
        (5, 'python', 'ab.py', 'ac.py', 'work/1', 'd e'),
        (13, 'make', 'work'),
        (13, 'x'),
    ]


def test_every_program_is_known(commands):
    assert len(commands) > 100
    known = {'python', 'mmbss', 'make', 'bash', 'srun', 'torchrun', *ELSEWHERE}
    strange = [command for command in commands if command.words[0] not in known]
    assert not strange, listed(strange)


def test_every_flag_is_there(parsed):
    refused = [command for command, arguments in parsed if arguments is None]
    assert not refused, listed(refused)


def test_a_command_that_is_wrong_is_found():
    with pytest.raises(SystemExit):
        read_arguments(ROOT / 'tools' / 'train.py', ['config.py', '--work-dirs', 'a'])


def test_every_target_of_make_is_there(commands):
    targets = set(re.findall(r'^([\w./$()-]+):', (ROOT / 'Makefile').read_text(), re.M))
    targets = {target.replace('$(VENV)', '.venv') for target in targets}
    asked = [command for command in commands if command.words[0] == 'make']
    missing = [command for command in asked if not {*command.words[1:]} <= targets]
    assert asked
    assert not missing, listed(missing)


def is_there(word):
    """Whether a file of the repository is there; those of the reader are."""
    if word.startswith('mmbss::'):
        return (ROOT / 'configs' / word.removeprefix('mmbss::')).is_file()
    rooms = r'(configs|studies|tools|benchmarks|tests|mmbss|zoo)/'
    return not re.match(rooms, word) or (ROOT / word).exists()


def test_every_file_is_there(commands):
    missing = [
        command
        for command in commands
        if command.words[0] not in ELSEWHERE and not all(map(is_there, command.words))
    ]
    assert not missing, listed(missing)


def test_every_checkpoint_is_one_that_its_config_writes(commands):
    named = [
        (command, *found)
        for command in commands
        for found in CHECKPOINT.findall(' '.join(command.words))
    ]
    configs = {path.stem for path in ROOT.glob('configs/*/*.py')}
    wrong = [
        command
        for command, config, epochs, epoch in named
        if config not in configs or epochs != epoch
    ]
    assert named
    assert not wrong, listed(wrong)


def test_every_option_fits_its_config(parsed):
    sources = (path for room in ('mmbss', 'configs') for path in ROOT.glob(f'{room}/**/*.py'))
    words = set(re.findall(r'\w+', ' '.join(path.read_text() for path in sources)))
    read, wrong = {}, []
    for command, arguments in parsed:
        options = getattr(arguments, 'cfg_options', None) or {}
        # what a tracker takes is its own
        keys = '.'.join(key.partition('.init_kwargs.')[0] for key in options)
        if not {*re.findall(r'[^\W\d]\w*', keys)} <= words:
            wrong.append(command)
        for path in command.words if options else ():
            if not re.fullmatch(r'configs/[\w/-]+\.py', path):
                continue
            if path not in read:
                read[path] = Config.fromfile(ROOT / path)
            try:
                merge_options(copy.deepcopy(read[path]), arguments)
            except ConfigError:
                wrong.append(command)
    assert len(read) > 10
    assert not wrong, listed(wrong)


def shortened(config, folder):
    """Options that make a training of the tour short, and leave it what others read of it."""
    yield from ('train_cfg.val_interval=100', 'default_hooks.checkpoint.interval=100')
    if f'{folder}/epoch_' not in TOUR.read_text():
        yield 'train_cfg.max_epochs=1'
    if 'digits-unlabelled' in config:
        yield from (
            'train_dataloader.dataset.fraction=0.05',
            'default_hooks.teacher_accuracy.min_accuracy=0',
        )
    elif 'digits-few' not in config:
        yield 'train_dataloader.dataset.indices=64'


def test_the_commands_of_the_tour_run(forked, tmp_path):
    """In short: of report and export, what takes seconds has tests of its own."""
    for module in ('mmpretrain.models', 'pandas', 'sklearn.datasets', 'torch._dynamo'):
        importlib.import_module(module)  # here once, not in every fork
    (tmp_path / 'configs').symlink_to(ROOT / 'configs')
    for command in commands_of(TOUR):
        program, script, *arguments = command.words
        if program != 'python':
            continue
        if script == 'tools/train.py':
            config, *flags = arguments
            folder = f'work_dirs/{Path(config).stem}'
            if '--work-dir' in flags:
                folder = flags[flags.index('--work-dir') + 1]
            start = () if '--cfg-options' in flags else ('--cfg-options',)
            arguments += [*start, *shortened(config, folder)]
        elif script == 'tools/export.py':
            arguments += ['--formats', 'safetensors']
        elif script == 'tools/report.py':
            arguments += ['--logs-only']
        forked(ROOT / script, *arguments, before=lambda: os.chdir(tmp_path))
    assert (tmp_path / 'exported' / 'tour' / 'student.safetensors').is_file()
    assert (tmp_path / 'work_dirs' / 'tour' / 'report.html').is_file()
