import pytest
from mmengine.evaluator import BaseMetric

from mmbss.engine.errors import ConfigError
from mmbss.engine.trial.training import try_training
from mmbss.registry import METRICS

ACCURACY = dict(type='Accuracy', topk=(1,))
FGSM = dict(type='mmbss.FGSMAttack', radius=2.0)
ROBUST = dict(type='mmbss.RobustAccuracy', num_samples=3, attacks=dict(fgsm=FGSM))
CALIBRATION = dict(type='mmbss.CalibrationError')


@METRICS.register_module(name='TestFewClasses')
class FewClasses(BaseMetric):
    """Tells nothing of three samples, and has no name for itself."""

    def process(self, data_batch, data_samples):
        self.results += [int(sample['gt_label']) for sample in data_samples]

    def compute_metrics(self, results):
        return dict(seen=len(results))


@pytest.fixture
def runner(make_runner, resnet_config, run_settings):
    """A runner that validates; hooks and metrics may be given."""

    def make(metrics=ACCURACY, hooks=None, checkpoint=None, data=None, model=None, **changes):
        settings = run_settings('unused', {})
        validation = settings['val_dataloader'] | dict(batch_size=64)
        validation['dataset'] = dict(validation['dataset'], **(data or {}))
        checkpoint = dict(dict(type='CheckpointHook', interval=1), **(checkpoint or {}))
        hooks = dict(settings['default_hooks'], checkpoint=checkpoint, **(hooks or {}))
        return make_runner(
            model or resnet_config(),
            epochs=1,
            val_cfg={},
            val_dataloader=validation,
            val_evaluator=metrics,
            test_cfg={},
            test_evaluator=metrics,
            default_hooks=hooks,
            **changes,
        )

    return make


# ---------------------------------------------------------------- metrics and who asks for them


@pytest.mark.parametrize(
    ('metrics', 'asked', 'message'),
    [
        ([CALIBRATION, ACCURACY], dict(save_best='auto'), "'auto' takes .* calibration/ece.*rule="),
        ([CALIBRATION, ACCURACY], dict(save_best='auto', rule='less'), None),
        ([CALIBRATION, ACCURACY], dict(save_best='accuracy/top1'), None),
        ([ACCURACY, CALIBRATION], dict(save_best='auto'), None),
        (ACCURACY, dict(save_best='accuracy/top5'), "save_best='accuracy/top5' is computed by no"),
        (ACCURACY, dict(save_best=['accuracy/top1', 'loss']), "save_best='loss' is computed by no"),
        (dict(type='mmbss.TestFewClasses'), dict(save_best='auto'), 'takes the first metric, seen'),
        (dict(type='mmbss.TestFewClasses'), dict(save_best='seen', rule='greater'), None),
        (dict(ACCURACY, prefix='own'), dict(save_best='own/top1', rule='greater'), None),
        (
            dict(type='SingleLabelMetric'),
            dict(save_best='single-label/f1-score', rule='less'),
            None,
        ),
    ],
    ids=str,
)
def test_the_best_checkpoint_is_that_of_a_metric(runner, metrics, asked, message):
    started = runner(metrics, checkpoint=asked)
    if message is None:
        try_training(started)
        return
    with pytest.raises(ConfigError, match=message):
        try_training(started)


@pytest.mark.parametrize('strict', [True, False])
def test_an_early_stop_by_a_metric_that_nobody_computes_is_refused(runner, strict):
    stop = dict(type='EarlyStoppingHook', monitor='accuracy/top5', strict=strict)
    with pytest.raises(ConfigError, match=r"EarlyStoppingHook\.monitor='accuracy/top5'"):
        try_training(runner(hooks=dict(stop=stop)))


def test_a_learning_rate_by_a_metric_that_nobody_computes_is_refused(runner):
    schedule = dict(type='ReduceOnPlateauLR', monitor='loss')
    started = runner(param_scheduler=schedule)
    started.optim_wrapper = started.build_optim_wrapper(started.optim_wrapper)
    started.param_schedulers = started.build_param_scheduler(started.param_schedulers)
    with pytest.raises(ConfigError, match=r"ReduceOnPlateauLR\)\.monitor='loss'"):
        try_training(started)


@pytest.mark.parametrize(
    ('metrics', 'message'),
    [
        (dict(type='Accuracy', topk=(1, 11)), 'val_evaluator: .*(k|topk)'),
        (ROBUST, 'mmbss.ModelMetricHook'),
        ([ACCURACY, ACCURACY], 'val_evaluator: .*same metric name'),
    ],
    ids=str,
)
def test_a_metric_that_fails_is_refused(runner, metrics, message):
    with pytest.raises(ConfigError, match=message):
        try_training(runner(metrics))


def test_a_metric_that_asks_the_model_is_tried_and_then_measures_what_it_is_to(runner):
    started = runner([ACCURACY, ROBUST], hooks=dict(m=dict(type='mmbss.ModelMetricHook')))
    try_training(started)
    robust = started.val_loop.evaluator.metrics[1]
    assert not robust.results
    started.val_loop.run()
    assert int(robust.chosen.sum()) == 3


def test_what_a_metric_finds_in_more_samples_may_be_asked_for(runner, make_teacher):
    attack = dict(type='mmbss.BSSAttack', num_steps=1)
    metric = dict(type='mmbss.BoundarySimilarity', teacher=make_teacher(favoured=9), attack=attack)
    started = runner(
        [ACCURACY, metric],
        hooks=dict(m=dict(type='mmbss.ModelMetricHook')),
        checkpoint=dict(save_best='boundary_similarity/mag_sim', rule='greater'),
    )
    try_training(started)


# ---------------------------------------------------------------- data


def test_the_validation_is_compared_with_the_training(runner):
    classes = [*'1234567890']
    with pytest.raises(ConfigError, match=r'^val_dataloader\.dataset: .* another order'):
        try_training(runner(data=dict(metainfo=dict(classes=classes))))


@METRICS.register_module(name='TestBestSoFar')
class BestSoFar(FewClasses):
    """Remembers over validations."""

    def __init__(self):
        super().__init__(prefix='own')
        self.calls = 0
        self.all = []

    def compute_metrics(self, results):
        self.calls += 1
        self.all.append(len(results))
        return dict(calls=self.calls)


def test_a_metric_with_a_memory_forgets_the_trial(runner):
    tried = runner(dict(type='mmbss.TestBestSoFar'))
    try_training(tried)
    (metric,) = tried.val_loop.evaluator.metrics
    assert (metric.calls, metric.all) == (0, [])
