"""The tools, as scripts of tools/ and as commands of ``mmbss``, by the name they are called with.

``python tools/dataset_to_npz.py`` is also ``mmbss dataset-to-npz``, from any folder. What is said
to the user names a tool as the user has: with the command, if that started this process.
"""

import argparse
import re
import shlex
import sys
from pathlib import Path

#: Where a wheel, or an editable install, has the folders at the top of the repository: setup.py.
CARRIED = Path(__file__).parents[1] / '.mim'
#: What the command is started with.
PROGRAMS = ('mmbss', 'python -m mmbss')
#: The first of the help; others follow by their names.
FIRST = ('train', 'test', 'compare', 'report', 'evaluate', 'distil', 'export', 'predict')
#: Commands that are not named as their script.
SHORT = dict(evaluate_boundary='evaluate')
SCRIPT = re.compile(r'(?<![\w/])(?:python )?tools/(\w+)\.py\b')


def command_of(script: str) -> str:
    """Name of the command that a script is.

    Examples:
        >>> [command_of(name) for name in ('train', 'evaluate_boundary', 'plot_fractions')]
        ['train', 'evaluate', 'plot-fractions']
    """
    return SHORT.get(script, script.replace('_', '-'))


def find_tools() -> dict[str, Path]:
    """The scripts by their commands, those that are needed most first.

    Raises:
        FileNotFoundError: If the installation lacks them.
    """
    tools = {command_of(path.stem): path for path in (CARRIED / 'tools').glob('*.py')}
    if not tools:
        raise FileNotFoundError(f'{CARRIED} holds no tools: install mmbss again')
    ranks = {name: rank for rank, name in enumerate(FIRST)}
    return dict(sorted(tools.items(), key=lambda tool: (ranks.get(tool[0], len(ranks)), tool[0])))


def used_program() -> str | None:
    """The program that this tool is a command of; None where it was started as a script."""
    program, _, _ = sys.argv[0].rpartition(' ')
    return program if program in PROGRAMS else None


def this_command(*arguments: str) -> str:
    """The command line of this tool, with other arguments."""
    words = ['python', sys.argv[0]] if used_program() is None else sys.argv[0].split()
    return shlex.join([*words, *arguments])


def as_called(text: str) -> str:
    """A text in which tools, named as scripts, are named as this one was started."""
    program = used_program()
    if program is None:
        return text
    return SCRIPT.sub(lambda found: f'{program} {command_of(found[1])}', text)


class HelpFormatter(argparse.RawDescriptionHelpFormatter):
    """Keeps the layout of a description, and says what a flag is where it is left out."""

    def _get_help_string(self, action: argparse.Action) -> str:
        default, said = action.default, action.help or ''
        if default is None or default is False or default in (argparse.SUPPRESS, [], {}):
            return said
        if isinstance(default, (list, tuple)):
            default = ' '.join(map(str, default))
        return f'{said} (default: {default})'.replace('%', '%%').strip()


def new_parser(description: str | None) -> argparse.ArgumentParser:
    """A parser of a tool's command line, whose help shows its docstring as it is laid out."""
    return argparse.ArgumentParser(
        description=as_called(description or ''),
        formatter_class=HelpFormatter,
        allow_abbrev=False,  # commands that are repeated are read by the whole names of flags
    )
