"""Settings and checks of a distillation that the tests share."""

STATISTICS = {
    'bss_samples',
    'bss_queries',
    'bss_accepted',
    'bss_third_class',
    'bss_not_crossed',
    'bss_steps',
    'bss_gap',
}


def all_attacked(**attack):
    return dict(
        attack=dict(type='mmbss.BSSAttack', **attack),
        num_base_samples=8,
        loss=dict(type='mmbss.KDLoss', temperature=3.0),
        loss_weight=2.0,
        train_on='all',
    )


def check_training_step(distiller, batch):
    losses = distiller.loss(*batch)
    assert set(losses) == {'loss_cls', 'loss_kd', 'loss_bss', *STATISTICS}
    assert losses['bss_samples'] == 8
    assert all(value.isfinite() for value in losses.values())
    loss, _ = distiller.parse_losses(losses)
    loss.backward()
    gradients = [parameter.grad for parameter in distiller.parameters()]
    assert all(gradient is not None and gradient.isfinite().all() for gradient in gradients)
