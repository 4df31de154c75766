import torch


def test_what_keeps_no_activations_trains_as_without(make_runner, resnet_config):
    weights = []
    for names in (None, ['backbone']):
        torch.manual_seed(0)
        runner = make_runner(resnet_config(), epochs=1)
        runner.cfg.activation_checkpointing = names
        runner.train()
        weights.append(dict(runner.model.named_parameters()))
    for name, weight in weights[0].items():
        torch.testing.assert_close(weights[1][name], weight, msg=name)
