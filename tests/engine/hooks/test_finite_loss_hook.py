import math
from contextlib import nullcontext
from types import SimpleNamespace

import pytest
import torch
from mmengine.hooks import Hook
from mmengine.optim import OptimWrapper

from mmbss.engine.hooks.finite_loss_hook import NonFiniteError, gradients_are_finite
from mmbss.registry import HOOKS


@HOOKS.register_module()
class SpoilHook(Hook):
    """Makes the loss of some iterations infinite, or spoils their gradients, or what comes of them.

    Keeps the weights before each.
    """

    priority = 'VERY_HIGH'

    def __init__(self, iterations, what, value=math.nan):
        self.iterations = iterations
        self.what = what
        self.value = value
        self.weights = {}

    def before_train_iter(self, runner, batch_idx, data_batch=None):
        model = runner.model
        if self.what == 'loss':
            spoilt = runner.iter in self.iterations
            model.head.loss_module.loss_weight = math.inf if spoilt else 1.0
        if self.what == 'gradient' and runner.iter == 0:
            model.head.fc.bias.register_hook(
                lambda grad: grad * self.value if runner.iter in self.iterations else grad
            )
        self.weights[runner.iter] = model.head.fc.weight.detach().clone()

    def after_train_iter(self, runner, batch_idx, data_batch=None, outputs=None):
        target = dict(
            weight=runner.model.head.fc.weight, buffer=runner.model.backbone.bn1.running_var
        ).get(self.what)
        if target is not None and runner.iter in self.iterations:
            with torch.no_grad():
                target.view(-1)[0] = self.value


@pytest.fixture
def spoil(make_runner, resnet_config, tmp_path):
    """A runner of two epochs of six iterations, something of which is spoilt."""

    def spoil(what, iterations, value=math.nan, **changes):
        hooks = dict(
            finite_loss=dict(type='mmbss.FiniteLossHook'),
            checkpoint=dict(type='mmbss.AtomicCheckpointHook', interval=1),
        )
        settings = dict(
            optim_wrapper=dict(
                type='OptimWrapper',
                optimizer=dict(type='SGD', lr=0.05, momentum=0.9),
            ),
            default_hooks=hooks,
            custom_hooks=[
                dict(type='mmbss.SpoilHook', iterations=iterations, what=what, value=value)
            ],
            work_dir=tmp_path / 'run',
        )
        return make_runner(resnet_config(), **{**settings, **changes})

    return spoil


def spoiler(runner):
    return next(hook for hook in runner.hooks if isinstance(hook, SpoilHook))


def stored(folder):
    return sorted(path.name for path in (folder / 'run').glob('*.pth'))


# ---------------------------------------------------------------- a loss that is not finite


def test_the_run_stops_with_iteration_parts_and_last_checkpoint(spoil):
    runner = spoil('loss', [8])
    with pytest.raises(NonFiniteError) as error:
        runner.train()
    message = str(error.value)
    assert 'not finite in iteration 9 (epoch 2): loss inf' in message
    assert f'the last checkpoint is {runner.work_dir}/epoch_1.pth' in message
    # the weights are those of the last good update
    assert torch.equal(spoiler(runner).weights[8], runner.model.head.fc.weight)
    assert all(value.isfinite().all() for value in runner.model.state_dict().values())


def test_before_the_first_checkpoint_that_is_said(spoil):
    with pytest.raises(NonFiniteError, match='no checkpoint has been written yet'):
        spoil('loss', [0]).train()


# ---------------------------------------------------------------- a loss that is finite


@pytest.mark.parametrize('value', [math.nan, math.inf, -math.inf])
def test_a_gradient_that_is_not_finite_stops_the_run_before_it_is_used(spoil, tmp_path, value):
    runner = spoil('gradient', [8], value)
    with pytest.raises(NonFiniteError, match=r'gradient of head\.fc\.bias .* iteration 9') as error:
        runner.train()
    assert 'epoch_1.pth' in str(error.value)
    assert all(weight.isfinite().all() for weight in runner.model.state_dict().values())
    assert stored(tmp_path) == ['epoch_1.pth']


@pytest.mark.parametrize(
    ('what', 'iterations', 'kept'),
    [
        ('weight', [5], []),
        ('weight', [11], ['epoch_1.pth']),
        ('buffer', [5], []),
        ('buffer', [11], ['epoch_1.pth']),
    ],
)
def test_no_checkpoint_is_written_of_weights_that_are_not_finite(
    spoil, tmp_path, what, iterations, kept
):
    runner = spoil(what, iterations)
    with pytest.raises(NonFiniteError, match='not finite') as error:
        runner.train()
    assert stored(tmp_path) == kept
    assert ('epoch_1.pth' in str(error.value)) == bool(kept)
    assert runner.message_hub.runtime_info.get('last_ckpt') == (
        str(tmp_path / 'run' / 'epoch_1.pth') if kept else None
    )


def test_a_learning_rate_without_measure_stops_the_run(spoil, tmp_path):
    wrapper = dict(type='OptimWrapper', optimizer=dict(type='SGD', lr=1e38))
    with pytest.raises(NonFiniteError, match='not finite'):
        spoil('nothing', [], optim_wrapper=wrapper).train()
    assert stored(tmp_path) == []


def test_without_checkpoints_too_a_run_does_not_end_well(spoil, tmp_path):
    hooks = dict(finite_loss=dict(type='mmbss.FiniteLossHook'), checkpoint=None)
    with pytest.raises(NonFiniteError, match=r'head\.fc\.weight is not finite after iteration'):
        spoil('weight', [11], default_hooks=hooks).train()


def test_the_state_of_an_optimizer_that_is_not_finite_is_not_stored(spoil, tmp_path):
    runner = spoil('nothing', [])

    def spoil_momentum(runner):
        state = next(iter(runner.optim_wrapper.optimizer.state.values()))
        state['momentum_buffer'].view(-1)[0] = math.inf

    hook = Hook()
    hook.after_train_epoch = spoil_momentum
    runner.register_hook(hook)
    with pytest.raises(NonFiniteError, match=r'optimizer\.state\.0\.momentum_buffer is not finite'):
        runner.train()
    assert stored(tmp_path) == []


def test_a_run_does_not_go_on_from_weights_that_are_not_finite(spoil, tmp_path):
    runner = spoil('nothing', [], train_cfg=dict(by_epoch=True, max_epochs=1))
    runner.train()
    path = tmp_path / 'run' / 'epoch_1.pth'
    content = torch.load(path)
    content['state_dict']['head.fc.bias'][0] = math.nan
    torch.save(content, path)
    with pytest.raises(ValueError, match=r'weights to begin with .* head\.fc\.bias'):
        spoil('nothing', [], load_from=str(path), resume=True).train()


def test_buffers_that_were_always_infinite_are_no_problem(spoil, tmp_path):
    runner = spoil('nothing', [], train_cfg=dict(by_epoch=True, max_epochs=1))
    runner.model.register_buffer('mask', torch.tensor([0.0, -math.inf]))
    runner.train()
    assert stored(tmp_path) == ['epoch_1.pth']


@pytest.mark.parametrize('resume', [False, True])
def test_buffers_that_begin_as_nan_are_no_problem(spoil, tmp_path, resume):
    runner = spoil('nothing', [], train_cfg=dict(by_epoch=True, max_epochs=1))
    runner.model.register_buffer('mean', torch.tensor([0.0, math.nan]))
    runner.train()
    runner = spoil('nothing', [], load_from=str(tmp_path / 'run' / 'epoch_1.pth'), resume=True)
    if resume:
        runner.model.register_buffer('mean', torch.tensor([0.0, math.nan]))
        runner.train()
        assert 'epoch_2.pth' in stored(tmp_path)
    else:  # which has become NaN
        runner.model.register_buffer('mean', torch.zeros(2))
        with pytest.raises(ValueError, match=r'weights to begin with .* mean'):
            runner.train()


def test_what_other_hooks_store_need_not_be_finite(spoil, tmp_path):
    def store(runner, checkpoint):
        checkpoint['own'] = torch.tensor(math.nan)

    hook = Hook()
    hook.before_save_checkpoint = store
    runner = spoil('nothing', [], train_cfg=dict(by_epoch=True, max_epochs=1))
    runner.register_hook(hook)
    runner.train()
    assert torch.load(tmp_path / 'run' / 'epoch_1.pth')['own'].isnan()


def test_the_gradients_of_a_loss_scale_are_left_to_it(spoil):
    """Its search for a scale makes them infinite."""
    runner = spoil('gradient', [3], math.inf)
    runner.optim_wrapper = runner.build_optim_wrapper(runner.optim_wrapper)
    runner.optim_wrapper.loss_scaler = SimpleNamespace(get_scale=lambda: 2.0)
    with pytest.raises(NonFiniteError, match=r'bias is not finite|loss is not finite'):
        runner.train()


@pytest.mark.parametrize(('scale', 'ends'), [(2.0**-30, True), (0.0, True), (2.0**-20, False)])
def test_a_loss_scale_that_finds_none_ends_the_run(spoil, scale, ends):
    """At every step a gradient was infinite, and no weight has moved."""
    runner = spoil('nothing', [])
    runner.optim_wrapper = runner.build_optim_wrapper(runner.optim_wrapper)
    runner.optim_wrapper.loss_scaler = SimpleNamespace(get_scale=lambda: scale)
    with (
        pytest.raises(NonFiniteError, match=r'no loss scale keeps .* by iteration 6')
        if ends
        else nullcontext()
    ):
        runner.train()


@pytest.mark.parametrize(
    ('values', 'finite'),
    [
        ([1.0, -2.0], True),
        ([3e38, -3e38], True),  # whose squares are infinite
        ([], True),
        ([1.0, torch.inf], False),
        ([1.0, torch.nan], False),
    ],
)
def test_gradients_are_finite_as_long_as_each_of_them_is(values, finite):
    weight = torch.nn.Parameter(torch.zeros(len(values)))
    weight.grad = torch.tensor(values)
    optimizer = torch.optim.SGD([weight, torch.nn.Parameter(torch.zeros(1))], lr=0.1)
    assert bool(gradients_are_finite(OptimWrapper(optimizer))) is finite


@pytest.mark.parametrize(('value', 'finite'), [(1.0, True), (3e38, True), (torch.nan, False)])
def test_gradients_of_embeddings_and_of_empty_weights_are_looked_at_too(value, finite):
    weights = [torch.nn.Parameter(torch.zeros(size)) for size in (3, 3, 0)]
    weights[0].grad = torch.sparse_coo_tensor([[1]], [value], (3,), check_invariants=True)
    weights[1].grad = torch.sparse_coo_tensor(torch.zeros(1, 0), [], (3,), check_invariants=True)
    weights[2].grad = torch.zeros(0)
    optimizer = torch.optim.SGD(weights, lr=0.1)
    assert bool(gradients_are_finite(OptimWrapper(optimizer))) is finite
