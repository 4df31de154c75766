import random

import numpy as np
import pytest
import torch

from mmbss.trial import try_training


@pytest.fixture
def runner(make_runner, resnet_config):
    def runner(**changes):
        return make_runner(resnet_config(), epochs=1, **changes)

    return runner


def test_nothing_is_learnt_and_no_random_number_used_up(runner):
    runner = runner()
    runner.train_dataloader  # noqa: B018 - the data are loaded with random numbers of their own
    weights = {key: value.clone() for key, value in runner.model.state_dict().items()}
    states = torch.get_rng_state(), np.random.get_state()[1].copy(), random.getstate()
    try_training(runner)
    assert torch.equal(torch.get_rng_state(), states[0])
    assert (np.random.get_state()[1] == states[1]).all()
    assert random.getstate() == states[2]
    assert all(torch.equal(weights[k], v) for k, v in runner.model.state_dict().items())
    assert runner.model.training


def test_labels_beyond_the_classes_are_refused(runner, tmp_path):
    file = tmp_path / 'data.npz'
    np.savez(file, images=np.zeros((64, 8, 8), np.uint8), labels=np.arange(64) % 12)
    data = dict(type='mmbss.ArrayDataset', data_file=str(file))
    runner = runner()
    runner._train_dataloader['dataset'] = data
    with pytest.raises(ValueError, match=r'num_classes=10 is too few .* set .*num_classes=12'):
        try_training(runner)


def test_a_training_without_a_single_batch_is_refused(runner):
    runner = runner()
    runner._train_dataloader.update(batch_size=500, drop_last=True)
    with pytest.raises(ValueError, match='batch_size=500 leaves no batch of 192 samples'):
        try_training(runner)


def test_a_config_without_a_training_is_refused(runner):
    nothing = dict(train_cfg=None, train_dataloader=None, optim_wrapper=None, param_scheduler=None)
    with pytest.raises(ValueError, match='there is nothing to train'):
        try_training(runner(**nothing))
