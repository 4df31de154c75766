"""Folders of runs as a training leaves them."""

import json


def write_run(folder, seed=0, by_epoch=True, model=None, **more):
    """Write the logs of a training that was resumed once, the way mmengine does."""
    for part, epochs in (('20260101_000000', (1, 2)), ('20260102_000000', (2, 3))):
        logs = folder / part / 'vis_data'
        logs.mkdir(parents=True)
        records = []
        for epoch in epochs:
            for step in (10 * epoch - 5, 10 * epoch):
                record = dict(lr=0.1, loss=100.0 / step, time=0.02, iter=step, step=step)
                record |= dict(bss_samples=4.0 * (epoch < 3), bss_accepted=0.5)
                records.append(record | (dict(epoch=epoch) if by_epoch else {}))
            records.append({'accuracy/top1': 50.0 + epoch + len(epochs) * seed, 'step': epoch})
        (logs / 'scalars.json').write_text('\n'.join(map(json.dumps, records)))
        config = f'model = dict({model or {}})\nrandomness = dict(seed={seed})\n'
        config += ''.join(f'{key} = {value!r}\n' for key, value in more.items())
        (logs / 'config.py').write_text(config)
    (folder / 'config.py').write_text(config)
    return folder
