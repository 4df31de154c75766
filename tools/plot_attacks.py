r"""Draw what each kind of attack makes of one test sample, side by side.

    python tools/plot_attacks.py configs/baseline/resnet26_1xb256-80e_cifar10.py \
        work_dirs/resnet26_1xb256-80e_cifar10/epoch_80.pth --out attacks.svg

The network is asked as a teacher is, and every attack has its default settings. The sample is the
first of those looked at that the network classifies correctly, the target class the most probable
wrong one; attacks that go toward another image go toward one of that class.
"""

import argparse
from pathlib import Path

from mmbss.engine.cli.flags import new_file
from mmbss.engine.commands import new_parser
from mmbss.engine.errors import ConfigError, readable_errors
from mmbss.engine.extras import named_extra

#: Attacks by the title of their picture.
ATTACKS = {
    'BSS (published)': dict(type='BSSAttack'),
    'Newton': dict(type='NewtonAttack'),
    'closest': dict(type='ClosestAttack'),
    'FGSM': dict(type='FGSMAttack'),
    'PGD': dict(type='PGDAttack'),
    'JSMA': dict(type='JSMAAttack'),
    'noise, as long as BSS': dict(type='RandomNoiseAttack', attack=dict(type='BSSAttack')),
    'segment': dict(type='SegmentAttack'),
    'chosen mix': dict(type='ChosenMixAttack'),
    'random mix': dict(type='RandomMixAttack'),
}


def parse_args() -> argparse.Namespace:
    """Parse the command line."""
    parser = new_parser(__doc__)
    parser.add_argument('config', help='config of the attacked network, with test samples')
    parser.add_argument('checkpoint', help='its weights')
    parser.add_argument('--out', type=new_file, default=Path('attacks.svg'), help='svg, png or pdf')
    parser.add_argument(
        '--num-samples', type=int, default=200, help='test samples that are looked at'
    )
    parser.add_argument('--skip', type=int, default=0, help='of those classified correctly')
    return parser.parse_args()


def main() -> None:
    """Attack and draw."""
    args = parse_args()
    with readable_errors(), named_extra():
        if args.skip < 0:
            raise ConfigError(f'--skip must be at least 0, got {args.skip}')
        import torch

        from mmbss import registry
        from mmbss.attacks import Partners
        from mmbss.boundary.sampling import correct
        from mmbss.engine.cli.config import load_config
        from mmbss.engine.randomness import seed_everything
        from mmbss.report.networks import load_networks
        from mmbss.visualization.boundary_pairs import most_probable_others
        from mmbss.visualization.draw_attacks import draw_attacks
        from mmbss.visualization.style import save_figure

        network = dict(config=args.config, checkpoint=args.checkpoint)
        asked = load_networks(
            network, {'network': network}, load_config(args.config), args.num_samples
        )
        seed_everything(0)
        with torch.no_grad():
            logits = asked.teacher(asked.samples)
        rows = correct(asked.labels, logits).nonzero().squeeze(1)[args.skip :]
        if not len(rows):
            raise ConfigError('too few samples are classified correctly: take more, skip fewer')
        row = rows[:1]
        base = asked.labels[row]
        target = most_probable_others(logits[row], base, 1)[:, 0]
        of_target = rows[asked.labels[rows] == target]
        if not len(of_target):
            raise ConfigError('no sample of the target class is classified correctly: take more')
        partners = Partners(asked.samples[of_target[:1]], logits[row], asked.teacher)
        results = {}
        for name, config in ATTACKS.items():
            attack = registry.ATTACKS.build(config)
            results[name] = attack(
                *(asked.teacher, asked.samples[row], base, target, asked.bounds),
                partners=partners if attack.needs_partners else None,
            )
        figure = draw_attacks(asked.samples[row], results, asked.bounds, asked.classes)
        save_figure(figure, args.out)
    print(f'written to {args.out}')


if __name__ == '__main__':
    main()
