from dataclasses import replace

import numpy as np
import pytest
import torch
from mmengine.config import Config
from mmengine.model import MMDistributedDataParallel
from mmengine.runner import Runner
from mmpretrain.models.utils import ClsDataPreprocessor

from mmbss.attacks import NewtonAttack
from mmbss.engine.errors import ConfigError
from mmbss.metrics import Agreement, ModelMetric, RobustAccuracy
from mmbss.registry import ATTACKS, METRICS

NAMES = ['similarity', 'distance', 'agreement', 'boundary_agreement', 'robust']
HOOK = dict(type='mmbss.ModelMetricHook')


class PlaceMetric(ModelMetric):
    """Keeps the random number and the brightness of each sample."""

    fields = ('uniform', 'brightness')

    def __init__(self, **kwargs):
        super().__init__(prefix='place', **kwargs)
        self.noise = []

    def measure(self, inputs, labels, uniforms):
        self.noise.append(float(torch.rand(())))
        values = dict(uniform=uniforms, brightness=inputs.mean(dim=(1, 2, 3)))
        return torch.ones_like(labels, dtype=torch.bool), values

    def summarise(self, values):
        return {name: value.tolist() for name, value in values.items()}


@pytest.mark.parametrize('name', NAMES)
@pytest.mark.parametrize(('num_samples', 'batch_size'), [(None, 17), (31, 1)])
def test_results_do_not_depend_on_the_batch_size(
    name, num_samples, batch_size, evaluate, metric_configs
):
    config = metric_configs(num_samples=num_samples, seed=3)[name]
    expected = evaluate(config, batch_size=60)
    assert len(expected) >= 2
    assert evaluate(config, batch_size=batch_size) == pytest.approx(expected, rel=1e-3)


@pytest.mark.parametrize('name', NAMES)
def test_the_seed_alone_decides(name, evaluate, metric_configs):
    results = []
    for state, seed in ((5, 0), (6, 0), (5, 1)):
        torch.manual_seed(state)
        results.append(evaluate(metric_configs(num_samples=40, seed=seed)[name]))
    assert results[0] == results[1] != results[2]


def test_samples_are_drawn_from_the_whole_dataset(evaluate, num_digits):
    all_of_them = evaluate(PlaceMetric())['place/brightness']
    assert len(all_of_them) == num_digits
    drawn = evaluate(PlaceMetric(num_samples=20))['place/brightness']
    assert len(drawn) == 20
    places = [all_of_them.index(value) for value in drawn]
    assert places == sorted(places)
    assert places[-1] > 40, 'not the first ones'


def test_every_sample_has_a_random_number_of_its_own(evaluate):
    uniforms = evaluate(PlaceMetric())['place/uniform']
    assert len(set(uniforms)) == len(uniforms)
    assert 0.35 < sum(uniforms) / len(uniforms) < 0.65


def test_batches_draw_different_numbers_from_the_seed(evaluate):
    first, again = PlaceMetric(), PlaceMetric()
    evaluate(first, batch_size=20)
    torch.manual_seed(7)
    evaluate(again, batch_size=20)
    assert first.noise == again.noise
    assert len(set(first.noise)) == 3


def test_an_evaluation_can_be_repeated(evaluate):
    metric = PlaceMetric(num_samples=20)
    first = evaluate(metric)
    assert evaluate(metric) == first


@pytest.mark.parametrize('training', [False, True])
@pytest.mark.parametrize('name', NAMES)
def test_the_model_is_left_as_it_was(
    name, training, student, digits, metric_configs, num_digits, evaluate
):
    expected = evaluate(metric_configs()[name], batch_size=num_digits)
    metric = METRICS.build(metric_configs()[name])
    metric.attach(student, num_digits)
    student.train(training)
    student.backbone.layer1.eval()
    modes = [module.training for module in student.modules()]
    before = {key: value.clone() for key, value in student.state_dict().items()}
    random_state = torch.get_rng_state()
    student.head.fc.bias.grad = torch.ones(10)
    inputs, samples = digits
    batch = dict(inputs=inputs, data_samples=samples)
    try:
        with torch.no_grad():
            metric.process(batch, [sample.to_dict() for sample in samples])
            assert not torch.is_grad_enabled()
        assert metric.evaluate(num_digits) == expected
        assert [module.training for module in student.modules()] == modes
        assert all(torch.equal(value, before[key]) for key, value in student.state_dict().items())
        grads = {key: value.grad for key, value in student.named_parameters()}
        assert grads.pop('head.fc.bias').eq(1).all()
        assert all(grad is None for grad in grads.values())
        assert all(parameter.requires_grad for parameter in student.parameters())
        assert torch.equal(torch.get_rng_state(), random_state)
    finally:
        student.head.fc.bias.grad = None
        student.eval()


def test_without_the_hook_the_error_says_what_to_add(digits):
    inputs, samples = digits
    with pytest.raises(ValueError, match=r'PlaceMetric asks the model .*ModelMetricHook'):
        PlaceMetric().process(dict(inputs=inputs, data_samples=samples), samples)


def test_no_sample_and_a_broken_seed_are_refused():
    with pytest.raises(ValueError, match='num_samples must be at least 1'):
        PlaceMetric(num_samples=0)
    with pytest.raises(ValueError, match=r'seed must be int, got 1\.5'):
        PlaceMetric(seed=1.5)
    assert PlaceMetric(seed=np.int64(3)).seed == 3


def test_a_wrapper_is_taken_off(student):
    torch.distributed.init_process_group(
        'gloo', store=torch.distributed.HashStore(), rank=0, world_size=1
    )
    try:
        wrapped = MMDistributedDataParallel(student, device_ids=None, broadcast_buffers=False)
        metric = PlaceMetric()
        metric.attach(wrapped, 10)
        assert metric.model is student
    finally:
        torch.distributed.destroy_process_group()


@pytest.mark.parametrize('name', ['robust', 'corruption'])
def test_what_is_said_in_pixels_needs_a_normalisation_that_is_known(
    name, evaluate, metric_configs, build_model, resnet_config
):
    class Unit(ClsDataPreprocessor):
        def forward(self, data, training=False):
            return super().forward(dict(data, inputs=data['inputs'] / 255), training)

    model = build_model(resnet_config(data_preprocessor=Unit()))
    with pytest.raises(ConfigError, match='data_preprocessor: Unit does something else to pixels'):
        evaluate(metric_configs()[name], model.eval())


# ---------------------------------------------------------------- runs


@pytest.fixture
def run(bss_settings, metric_configs, tmp_path):
    """Build the runner of two epochs of BSS on the digits, validated with the given metrics."""

    def run(names, hooks=(), folder='run', **changes):
        metrics = [metric_configs(num_samples=40)[name] for name in names]
        config = bss_settings(tmp_path / folder, epochs=2, **changes)
        config['val_evaluator'] = [dict(type='Accuracy', topk=(1,)), *metrics]
        config['custom_hooks'] += hooks
        config['experiment_name'] = f'{tmp_path.name}_{folder}'
        return Runner.from_cfg(Config(config))

    return run


def weights(runner):
    return torch.cat([weight.detach().flatten() for weight in runner.model.parameters()])


def test_training_is_the_same_with_metrics_in_the_validation(run):
    plain = run([], folder='plain')
    plain.train()
    measured = run(NAMES, [HOOK], folder='measured')
    measured.train()
    assert torch.equal(weights(measured), weights(plain))
    logged = measured.message_hub.log_scalars
    for name in ('boundary_similarity/pairs', 'agreement/kl', 'robust_accuracy/pgd_20'):
        assert len(logged[f'val/{name}'].data[0]) == 2
    assert 0 < logged['val/robust_accuracy/clean'].current() <= 100


def test_the_averaged_weights_are_evaluated(run, count_calls):
    runner = run(['agreement'], [HOOK, dict(type='EMAHook', momentum=1e-6)])
    (metric,) = runner.val_loop.evaluator.metrics[1:]
    runner.train()
    ema = next(hook for hook in runner.hooks if type(hook).__name__ == 'EMAHook')
    logged = runner.message_hub.get_scalar('val/agreement/kl').data[0]
    # an average of next to no momentum does not move
    assert logged[0] == pytest.approx(logged[1], abs=1e-3)
    assert metric.model is runner.model is ema.src_model


def test_a_test_is_measured_too(run):
    runner = run([])
    config = runner.cfg
    config.test_evaluator = [
        dict(
            type='mmbss.RobustAccuracy',
            attacks=dict(fgsm=dict(type='mmbss.FGSMAttack', radius=2.0)),
        )
    ]
    config.custom_hooks = []
    config.default_hooks.model_metrics = HOOK
    config.experiment_name += '_test'
    metrics = Runner.from_cfg(config).test()
    assert set(metrics) == {'robust_accuracy/clean', 'robust_accuracy/fgsm'}


def test_a_metric_that_does_not_fit_ends_the_run_before_it_starts(run, count_calls):
    runner = run(['similarity'], [HOOK])
    (metric,) = runner.val_loop.evaluator.metrics[1:]
    metric.given = dict(metric.given, checkpoint='gone.pth')
    steps = count_calls(runner.model, 'train_step')
    with pytest.raises(FileNotFoundError, match=r'no file .gone\.pth'):
        runner.train()
    assert not steps


def test_a_training_without_validation_needs_no_metric(make_runner, resnet_config):
    make_runner(resnet_config(), custom_hooks=[HOOK], epochs=1).train()


@pytest.mark.parametrize('nothing', ['', 'there is nobody to ask'])
def test_without_a_sample_a_metric_warns_in_its_own_words(monkeypatch, nothing):
    said = []
    monkeypatch.setattr(
        'mmbss.metrics.model_metric.print_log', lambda text, **how: said.append(text)
    )
    metric = PlaceMetric()
    metric.nothing = nothing
    metrics = metric.compute_metrics([None, None])
    assert metrics == (dict(samples=0) if nothing else dict(uniform=[], brightness=[]))
    assert said == ([f'PlaceMetric: {nothing}'] if nothing else [])


class BackwardMetric(PlaceMetric):
    """Leaves gradients behind, as an attack of somebody's own may."""

    def measure(self, inputs, labels, uniforms):
        with torch.enable_grad():
            self.logits(inputs).sum().backward()
        return super().measure(inputs, labels, uniforms)


def test_gradients_of_the_training_are_left_as_they_were(evaluate, student):
    parameter = next(student.parameters())
    parameter.grad = torch.ones_like(parameter)
    try:
        evaluate(BackwardMetric())
        assert (parameter.grad == 1).all()
        assert all(each.grad is None for each in [*student.parameters()][1:])
    finally:
        parameter.grad = None


@pytest.mark.parametrize(
    ('measured', 'count', 'message'),
    [
        (torch.ones_like, 1, 'in a bool tensor of shape'),
        (lambda labels: torch.ones(len(labels) + 1) > 0, 1, 'in a bool tensor of shape'),
        (
            lambda labels: labels == labels[0],
            2,
            'values of the samples .*: correct uniform, bright',
        ),
    ],
)
def test_what_is_measured_in_another_form_is_refused(evaluate, measured, count, message):
    class Wrong(PlaceMetric):
        def measure(self, inputs, labels, uniforms):
            about = measured(labels)
            return about, dict.fromkeys(self.fields, torch.ones(count * int(about.sum())))

    with pytest.raises(ConfigError, match=message):
        evaluate(Wrong())


def test_an_attack_of_ones_own_is_looked_at(evaluate, digits_teacher):
    class Liar(NewtonAttack):
        def run(self, model, samples, base, target, bounds):
            found = super().run(model, samples, base, target, bounds)
            return replace(found, logits=model(samples).detach())

    ATTACKS.register_module(name='TestLiar', module=Liar)
    try:
        liar = dict(type='TestLiar')
        with pytest.raises(ConfigError, match='RobustAccuracy: Liar returns logits that the model'):
            evaluate(RobustAccuracy(attacks=dict(liar=liar)))
        with pytest.raises(ConfigError, match='Agreement: Liar returns logits that the model'):
            evaluate(Agreement(attack=liar, teacher=digits_teacher))
    finally:
        ATTACKS.module_dict.pop('TestLiar')
