"""Every attack takes the place of BSSAttack in a run on the digits."""

import math

import pytest
from mmengine.config import Config
from mmengine.runner import Runner

from mmbss.engine.errors import ConfigError

ATTACKS = {
    'newton': dict(type='mmbss.NewtonAttack'),
    'closest': dict(type='mmbss.ClosestAttack'),
    'segment': dict(type='mmbss.SegmentAttack'),
    'disagreement': dict(type='mmbss.ChosenMixAttack', by='disagreement'),
    'noise': dict(type='mmbss.RandomNoiseAttack', attack=dict(type='mmbss.BSSAttack')),
    'fgsm': dict(type='mmbss.FGSMAttack', radius=40.0),
    'pgd': dict(type='mmbss.PGDAttack', radius=40.0, step_size=20.0, num_steps=3, targeted=False),
    'jsma': dict(type='mmbss.JSMAAttack'),
    'ddn': dict(type='mmbss.LibraryAttack', name='DDNAttack', options=dict(steps=5)),
    'deepfool': dict(
        type='mmbss.LibraryAttack', name='L2DeepFoolAttack', options=dict(steps=5), targeted=False
    ),
    'c-and-w': dict(
        type='mmbss.LibraryAttack',
        name='L2CarliniWagnerAttack',
        options=dict(binary_search_steps=1, steps=5),
    ),
}


@pytest.mark.parametrize('name', ATTACKS)
def test_a_run_with_another_attack(name, bss_settings, tmp_path):
    if ATTACKS[name]['type'] == 'mmbss.LibraryAttack':
        pytest.importorskip('foolbox', reason='foolbox is not installed')
    config = bss_settings(tmp_path, epochs=2, experiment_name=f'{tmp_path.name}_{name}')
    attack = dict(ATTACKS[name])
    config['model']['losses']['loss_bss'].update(attack=attack, train_on='all')
    config.update(val_cfg=None, val_dataloader=None, val_evaluator=None)
    runner = Runner.from_cfg(Config(config))
    runner.train()
    scalars = {
        key: runner.message_hub.get_scalar(f'train/{key}')._log_history
        for key in ('loss', 'loss_bss', 'bss_samples', 'bss_steps', 'bss_accepted')
    }
    assert all(math.isfinite(value) for values in scalars.values() for value in values)
    rows = list(zip(scalars['bss_samples'], scalars['loss_bss'], strict=True))
    assert any(count > 1 for count, _ in rows[:6])
    assert all((loss > 0) == (count > 1) for count, loss in rows[:6])
    # the weight of the boundary loss is 0 in the second half
    assert not any(count or loss for count, loss in rows[6:])
    assert not any(parameter.requires_grad for parameter in runner.model.teacher.parameters())


def test_bounds_that_are_no_pixels_are_refused_where_pixels_are_needed(
    make_distiller, boundary_config
):
    noise = dict(ATTACKS['noise'], attack=ATTACKS['fgsm'])
    for attack, name in ((ATTACKS['fgsm'], 'FGSMAttack'), (noise, 'RandomNoiseAttack')):
        with pytest.raises(ConfigError, match=rf'{name} is measured in pixels.*remove'):
            make_distiller(boundary=boundary_config(attack=attack, bounds=(-2.5, 2.5)))
    make_distiller(boundary=boundary_config(attack=ATTACKS['noise'], bounds=(-2.5, 2.5)))
