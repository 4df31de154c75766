"""The command ``mmbss``: the scripts of tools/ with the same flags, from any folder.

    mmbss train CONFIG --work-dir work_dirs/mine

``python -m mmbss`` is the same.
"""

import ast
import difflib
import importlib.util
import sys
from collections.abc import Mapping
from pathlib import Path

from mmbss.engine.commands import find_tools
from mmbss.version import __version__


def summary(script: Path) -> str:
    """What a script does: the first sentence of its docstring, without a full stop."""
    docstring = ast.get_docstring(ast.parse(script.read_text(encoding='utf-8'))) or ''
    return docstring.partition('\n')[0].rstrip('.')


def usage(program: str, tools: Mapping[str, Path]) -> str:
    """The help."""
    width = max(map(len, tools))
    return '\n'.join(
        [
            f'usage: {program} COMMAND [arguments]\n',
            *(f'  {name:<{width}}  {summary(path)}' for name, path in tools.items()),
            f'\n{program} COMMAND --help shows the arguments of a command.',
        ]
    )


def choose(name: str, program: str, tools: Mapping[str, Path]) -> Path:
    """The script of a command; ends the program if there is none, with the nearest name."""
    if name in tools:
        return tools[name]
    near = difflib.get_close_matches(name, tools, n=1)
    hint = f'did you mean {near[0]}?' if near else f'{program} --help lists them'
    sys.exit(f'error: {program} has no command {name!r}: {hint}')


def run(script: Path) -> None:
    """Call ``main()`` of a script, as its own process would."""
    spec = importlib.util.spec_from_file_location(f'{script.stem}_tool', script)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # for what looks its own module up
    spec.loader.exec_module(module)
    module.main()


def main() -> None:
    """Read the first word of the command line; the script reads the rest."""
    program = 'mmbss' if Path(sys.argv[0]).stem == 'mmbss' else 'python -m mmbss'
    name, *arguments = sys.argv[1:] or ['--help']
    if name == '--version':
        print(f'mmbss {__version__}')
        return
    tools = find_tools()
    if name in ('-h', '--help'):
        print(usage(program, tools))
        return
    script = choose(name, program, tools)
    sys.argv = [f'{program} {name}', *arguments]
    run(script)


if __name__ == '__main__':
    main()
