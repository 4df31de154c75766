from types import SimpleNamespace

from mmbss.engine.cli.start import terms_in_words
from mmbss.hooks import BSSHook


def test_each_term_is_said_with_its_weight_its_schedule_or_its_share(
    make_distiller, boundary_config
):
    losses = dict(
        loss_kd=dict(type='mmbss.KDLoss', temperature=3.0),
        loss_dkd=dict(type='mmbss.DKDLoss', loss_weight=0.5),
    )
    model = make_distiller(losses=losses, boundary=boundary_config(share=0.1))
    schedules = dict(loss_kd=dict(start=4.0, end=1.0), loss_cls=dict(start=2, end=0, until=0.75))
    # of somebody's own
    others = [SimpleNamespace(schedules=[1]), SimpleNamespace(schedules=dict(rate=3))]
    runner = SimpleNamespace(
        cfg=SimpleNamespace(model=dict(losses=losses)),
        hooks=[*others, BSSHook(schedules), SimpleNamespace()],
    )
    assert [*terms_in_words(runner, model)] == [
        'loss_kd: KDLoss(temperature=3.0), weight 4 to 1',
        'loss_dkd: DKDLoss(loss_weight=0.5), weight 0.5',
        'loss_bss: BoundaryLoss with BSSAttack, 0.1 of the gradient',
        'loss_cls: CrossEntropyLoss, weight 2 to 0 at 75 % of the training',
    ]
