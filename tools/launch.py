r"""Train or test in several processes: a GPU each, or cores of a CPU (gloo).

    python tools/launch.py 8 train CONFIG --work-dir work_dirs/mine
    python tools/launch.py 8 test CONFIG CHECKPOINT

On several machines, start it on each with NNODES, NODE_RANK, MASTER_ADDR and PORT in the
environment.
"""

import argparse
from pathlib import Path

from mmbss.engine.commands import new_parser
from mmbss.engine.errors import ConfigError, readable_errors


def parse_args() -> argparse.Namespace:
    """Parse the command line."""
    parser = new_parser(__doc__)
    parser.add_argument('processes', type=int, help='processes on this machine')
    parser.add_argument('tool', choices=['train', 'test'], help='what to start')
    parser.add_argument('arguments', nargs=argparse.REMAINDER, help='its command line')
    return parser.parse_args()


def main() -> None:
    """Start them."""
    args = parse_args()
    with readable_errors():
        if args.processes < 1:
            raise ConfigError(f'{args.processes} processes: give at least 1')
        from mmbss.engine.processes.starting import start_processes

        script = Path(__file__).with_name(f'{args.tool}.py')
        start_processes(args.processes, script, [*args.arguments, '--launcher', 'pytorch'])


if __name__ == '__main__':
    main()
