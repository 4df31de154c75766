def test_losses_on_logits_train_a_student_together(make_runner, digits_teacher, resnet_config):
    model = dict(
        resnet_config(),
        type='mmbss.Distiller',
        teacher=digits_teacher,
        losses=dict(
            loss_kd=dict(type='mmbss.KDLoss', standardise_logits=True),
            loss_dkd=dict(type='mmbss.DKDLoss'),
            loss_dist=dict(type='mmbss.DISTLoss'),
        ),
    )
    warm_up = dict(loss_dkd=dict(start=0.0, end=1.0, until=0.5))
    hooks = [dict(type='mmbss.BSSHook', schedules=warm_up)]
    runner = make_runner(model, custom_hooks=hooks, epochs=2)
    runner.train()
    scalars = runner.message_hub.log_scalars
    for name, idle in (('kd', 0), ('dkd', 6), ('dist', 0)):
        values = scalars[f'train/loss_{name}'].data[0].tolist()
        assert values[:idle] == [0.0] * idle, 'its weight is 0 in the first epoch'
        assert len(values) == 12
        assert all(0 < value < float('inf') for value in values[idle:])
