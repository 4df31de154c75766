"""Two processes train like one with the batches of both."""

from types import SimpleNamespace

import pytest
import torch
from mmengine.config import Config
from mmengine.runner import Runner
from mmpretrain.structures import DataSample
from torch.nn.parallel import DistributedDataParallel

from mmbss.hooks import BSSHook

# no BatchNorm, whose statistics are those of a process
STUDENT = dict(
    type='ImageClassifier',
    backbone=dict(type='mmbss.MLP', in_features=64, hidden=(32,)),
    head=dict(type='LinearClsHead', num_classes=10, in_channels=32),
)


def write_terms(rank, folder, model):
    torch.manual_seed(rank)
    # as mmengine draws them, with diff_rank_seed=True
    torch.nn.init.normal_(model.terms['loss_hint'].regressor.weight)
    hook, runner = BSSHook(), SimpleNamespace(model=model)
    hook.before_train(runner)
    torch.save(dict(model.terms.weights()['loss_hint']), folder / f'{rank}.pth')


def test_weights_of_terms_are_the_same_in_all_processes(make_distiller, in_two_processes, tmp_path):
    hint = dict(
        type='mmbss.HintLoss',
        student='backbone.layer1',
        teacher='backbone.layer1',
        student_channels=2,
        teacher_channels=2,
    )
    model = make_distiller(type='mmbss.Distiller', losses=dict(loss_hint=hint))
    in_two_processes(write_terms, tmp_path, model)
    one, two = (torch.load(tmp_path / f'{rank}.pth') for rank in (0, 1))
    assert one.keys() == two.keys()
    assert len(one) > 0
    assert all(torch.equal(one[name], two[name]) for name in one)


def gradients(model, forward, inputs, labels):
    samples = [DataSample().set_gt_label(int(label)) for label in labels]
    losses = forward(inputs, samples)
    total, _ = model.parse_losses(losses)
    total.backward()
    found = {name: parameter.grad for name, parameter in model.named_parameters()}
    return found, int(losses['bss_samples'])


def write_gradients(rank, folder, model, inputs, labels, split):
    class Losses(torch.nn.Module):
        """Lets DDP see the loss, as mmengine's wrapper does."""

        def __init__(self):
            super().__init__()
            self.model = model

        def forward(self, inputs, samples):
            return self.model.loss(inputs, samples)

    part = slice(0, split) if rank == 0 else slice(split, None)
    wrapped = DistributedDataParallel(Losses())
    torch.save(gradients(model, wrapped, inputs[part], labels[part]), folder / f'{rank}.pth')


@pytest.mark.parametrize(
    ('right_of_first', 'right_of_second'), [(7, 2), (5, 0), (1, 6), (0, 0)], ids=str
)
def test_gradients_are_those_of_one_process(
    right_of_first,
    right_of_second,
    make_distiller,
    boundary_config,
    in_two_processes,
    tmp_path,
):
    settings = boundary_config(
        base_samples='all', target_class='second_most_probable', train_on='all'
    )
    model = make_distiller(STUDENT, boundary=settings, favoured=0)
    inputs = torch.randn(20, 1, 8, 8)
    # both networks say class 0: the samples of other classes are no candidates
    labels = torch.ones(20, dtype=torch.int64)
    labels[:right_of_first] = 0
    labels[10 : 10 + right_of_second] = 0
    one, samples = gradients(model, model.loss, inputs, labels)
    model.zero_grad()
    in_two_processes(write_gradients, tmp_path, model, inputs, labels, 10)
    (first, of_first), (second, of_second) = (torch.load(tmp_path / f'{r}.pth') for r in (0, 1))
    assert of_first + of_second == samples
    assert (of_first > 0, of_second > 0) == (right_of_first > 0, right_of_second > 0)
    for name, gradient in one.items():
        torch.testing.assert_close(first[name], gradient, atol=1e-6, rtol=1e-5)
        assert torch.equal(first[name], second[name])


def fifty_steps(rank, config, folder):
    config.launcher = 'pytorch'
    config.model_wrapper_cfg = dict(type='MMDistributedDataParallel', device_ids=None)
    config.train_dataloader.batch_size //= 2
    config.experiment_name = 'two_processes'
    config.work_dir = str(folder / 'two')
    Runner.from_cfg(config).train()


def test_fifty_steps_end_in_the_same_weights(
    bss_settings, boundary_config, in_two_processes, tmp_path
):
    config = Config(bss_settings(tmp_path / 'one', epochs=9))
    teacher = config.model.teacher
    config.model = dict(
        STUDENT,
        type='mmbss.Distiller',
        teacher=teacher,
        losses=dict(
            loss_kd=dict(type='mmbss.KDLoss', temperature=3.0),
            loss_bss=boundary_config(
                base_samples='all', target_class='second_most_probable', train_on='all'
            ),
        ),
    )
    config.update(val_dataloader=None, val_evaluator=None, val_cfg=None)
    config.update(test_dataloader=None, test_evaluator=None, test_cfg=None)
    config.default_hooks.checkpoint = dict(type='CheckpointHook', interval=9)
    config.custom_hooks[0].schedules.loss_bss.until = 1.0
    # the same order for both, of which each of two processes takes every other sample
    config.experiment_name = 'one_process'
    runner = Runner.from_cfg(config)
    runner.train()
    assert runner.iter == 54
    assert runner.message_hub.get_scalar('train/bss_samples').mean() > 5
    in_two_processes(fifty_steps, config, tmp_path)
    one, two = (
        torch.load(tmp_path / folder / 'epoch_9.pth')['state_dict'] for folder in ('one', 'two')
    )
    for name, weight in one.items():
        torch.testing.assert_close(two[name], weight, atol=1e-5, rtol=1e-4)
