"""Terms of somebody's own that do not do as they promise."""

from types import SimpleNamespace

import pytest
import torch

from mmbss.engine.errors import ConfigError
from mmbss.losses import DistillationLoss, FeatureLoss, Term
from mmbss.registry import MODELS


class Own(Term):
    """Does what a test gives it to do."""

    statistics = ('moved',)

    def __init__(self, does, **weight):
        super().__init__(**weight)
        self.does = does

    def compute(self, batch):
        return self.does(self, batch.student_logits.square().mean())


@pytest.fixture
def losses_of(make_distiller, make_batch):
    """What a distiller with one more term says of a batch, in training or in the trial."""

    def losses(term, tried=True):
        distiller = make_distiller(type='mmbss.Distiller')
        distiller.terms['loss_own'] = term
        inputs, samples = make_batch(range(4))
        return (distiller.try_terms if tried else distiller.loss)(inputs, samples)

    return losses


@pytest.mark.parametrize('weight', [0.0, 1.0, 3.0])
def test_a_term_that_keeps_its_promise_is_left_alone(losses_of, weight):
    term = Own(lambda own, x: (own.loss_weight * x, dict(moved=x)), loss_weight=weight)
    losses = losses_of(term)
    assert bool(losses['loss_own'] == 0) == (weight == 0)
    assert losses['own_moved'] > 0
    assert term.loss_weight == weight


@pytest.mark.parametrize(
    ('does', 'message'),
    [
        (lambda own, x: own.loss_weight * x, 'a pair'),
        (lambda own, x: None, 'a pair'),
        (lambda own, x: (None, {}), 'one number'),
        (lambda own, x: (1.5, {}), 'one number'),
        (lambda own, x: (own.loss_weight * x.expand(4), {}), 'the mean over the samples'),
        (lambda own, x: (own.loss_weight * x, None), 'a dict for the log'),
        (lambda own, x: (own.loss_weight * x, dict(moved=3.0)), 'one number'),
        (lambda own, x: (own.loss_weight * x, dict(my_loss=x)), "'my_loss'"),
        (lambda own, x: (own.loss_weight * x, dict(other=x)), "'other'.*statistics"),
    ],
)
@pytest.mark.parametrize('tried', [True, False])
def test_what_is_no_loss_with_a_log_is_refused(losses_of, does, message, tried):
    with pytest.raises(ConfigError, match=message):
        losses_of(Own(does), tried)


@pytest.mark.parametrize(
    ('moment', 'part'),
    [
        ('bring', 'inputs'),
        ('bring', 'teacher_logits'),
        ('compute', 'inputs'),
        ('compute', 'labels'),
        ('compute', 'teacher_logits'),
        ('compute', 'student_logits'),
    ],
)
def test_a_term_that_changes_the_batch_of_the_others_is_refused(losses_of, moment, part):
    class InPlace(Own):
        def bring(self, batch):
            if moment == 'bring':
                getattr(batch, part).mul_(2)

        def compute(self, batch):
            if moment == 'compute':
                getattr(batch, part).mul_(2)
            return super().compute(batch)

    term = InPlace(lambda own, x: (own.loss_weight * x, {}))
    with pytest.raises(ConfigError, match=f'InPlace changes {part} of the batch in place'):
        losses_of(term, tried=False)


@pytest.mark.usefixtures('own_losses')
def test_a_term_that_changes_features_of_the_others_is_refused(make_distiller, make_batch):
    paths = dict(student='backbone.layer1', teacher='backbone.layer1')
    distiller = make_distiller(
        type='mmbss.Distiller', losses=dict(loss_far=dict(type='mmbss.FarApart', **paths))
    )
    loss = distiller.terms['loss_far']

    def halves(student_features, teacher_features, labels):
        teacher_features[0].div_(2)
        return FarApart.compare(loss, student_features, teacher_features, labels)

    loss.compare = halves
    with pytest.raises(ConfigError, match='changes teacher_features of the batch in place'):
        distiller.loss(*make_batch(range(4)))


@pytest.mark.parametrize('weight', [0.0, 1.0, 5.0])
def test_a_weight_that_does_nothing_is_refused(losses_of, weight):
    with pytest.raises(ConfigError, match=r'losses\.loss_own.*multiply .* self\.loss_weight'):
        losses_of(Own(lambda own, x: (x, {}), loss_weight=weight))


class WeighsItself(Own):
    """Takes no weight, since it has another one, or learns it."""

    def __init__(self, does):
        super().__init__(does)


def test_a_term_that_weighs_itself_is_left_alone(losses_of):
    assert losses_of(WeighsItself(lambda own, x: (3 * x, {})))['loss_own'] > 0
    term = Own(lambda own, x: (own.loss_weight * x, {}))
    term.loss_weight = torch.nn.Parameter(torch.tensor(2.0))
    assert losses_of(term)['loss_own'] > 0
    assert term.loss_weight == 2


def test_a_loss_without_a_gradient_is_refused(losses_of):
    with pytest.raises(ConfigError, match=r'losses\.loss_own.*no gradient'):
        losses_of(Own(lambda own, x: (own.loss_weight * x.detach(), {})))
    # it may find nothing to learn
    losses_of(Own(lambda own, x: (torch.zeros(()), {})))


@pytest.mark.usefixtures('own_losses')
def test_a_loss_on_features_that_are_frozen_is_refused(make_distiller, make_batch):
    paths = dict(student='backbone.layer1', teacher='backbone.layer1')
    distiller = make_distiller(
        type='mmbss.Distiller', losses=dict(loss_far=dict(type='mmbss.FarApart', **paths))
    )
    assert distiller.try_terms(*make_batch(range(4)))['loss_far'] > 0
    for name, parameter in distiller.backbone.named_parameters():
        parameter.requires_grad = name.startswith(('layer2', 'layer3'))
    with pytest.raises(ConfigError, match=r'FarApart: backbone\.layer1 .*frozen'):
        distiller.try_terms(*make_batch(range(4)))


def test_a_hint_with_a_regressor_on_what_is_frozen_is_refused(make_distiller, make_batch):
    hint = dict(
        type='mmbss.HintLoss',
        student='backbone.layer2',
        teacher='backbone.layer3',
        student_channels=4,
        teacher_channels=8,
    )
    distiller = make_distiller(type='mmbss.Distiller', losses=dict(loss_hint=hint))
    assert distiller.try_terms(*make_batch(range(4)))['loss_hint'] > 0
    for name, parameter in distiller.backbone.named_parameters():
        parameter.requires_grad = name.startswith('layer3')
    with pytest.raises(ConfigError, match=r'HintLoss: backbone\.layer2 of the student'):
        distiller.try_terms(*make_batch(range(4)))


class FarApart(FeatureLoss):
    """Compares two layers of any shape."""

    def compare(self, student_features, teacher_features, labels):
        return (student_features[0].mean() - teacher_features[0].mean()).square()


class Swallows(DistillationLoss):
    """Takes a weight, and leaves it."""

    def __init__(self, **others):
        super().__init__()

    def forward(self, student_logits, teacher_logits, labels):
        return self.loss_weight * (student_logits - teacher_logits).square().mean()


class Forgets(Swallows):
    """Is made without the class it derives from."""

    def __init__(self, loss_weight=1.0):
        torch.nn.Module.__init__(self)


class Scales(Swallows):
    """Brings its weight into other units."""

    def __init__(self, loss_weight=1.0):
        DistillationLoss.__init__(self, loss_weight / 10)


@pytest.fixture(scope='module')
def own_losses():
    kinds = (FarApart, Swallows, Forgets, Scales)
    for kind in kinds:
        MODELS.register_module(module=kind)
    yield
    for kind in kinds:
        MODELS._module_dict.pop(kind.__name__)


@pytest.mark.usefixtures('own_losses')
@pytest.mark.parametrize(
    ('term', 'message'),
    [
        (dict(type='mmbss.Swallows', loss_weight=3.0), 'takes loss_weight=3.0.*the weight 1:'),
        (dict(type='mmbss.Forgets'), r'must call super\(\)'),
    ],
)
def test_a_weight_that_is_not_handed_on_is_refused(make_distiller, term, message):
    with pytest.raises(ConfigError, match=message):
        make_distiller(type='mmbss.Distiller', losses=dict(loss_own=term))


@pytest.mark.usefixtures('own_losses')
@pytest.mark.parametrize(('kind', 'weight'), [('Swallows', 1), ('Scales', 5.0)])
def test_a_weight_that_there_is_may_be_said_in_other_units(make_distiller, kind, weight):
    said = dict(type=f'mmbss.{kind}', loss_weight=weight)
    distiller = make_distiller(type='mmbss.Distiller', losses=dict(loss_own=said))
    assert distiller.terms['loss_own'].loss_weight == (0.5 if kind == 'Scales' else 1)


def test_what_a_term_leaves_out_of_the_log_is_0(losses_of):
    losses = losses_of(Own(lambda own, x: (own.loss_weight * x, {})), tried=False)
    assert losses['own_moved'] == 0


def test_names_without_a_tuple_are_refused(make_distiller):
    class Kept(DistillationLoss):
        statistics = 'kept'

        def forward(self, student_logits, teacher_logits, labels):
            return self.loss_weight * student_logits.mean()

    MODELS.register_module(name='TestKept', module=Kept)
    try:
        with pytest.raises(ConfigError, match=r"statistics='kept' is no tuple .* \('kept',\)"):
            make_distiller(type='mmbss.Distiller', losses=dict(loss_kept=dict(type='TestKept')))
    finally:
        MODELS.module_dict.pop('TestKept')


@pytest.mark.parametrize(
    'further', [torch.zeros(2, 1, 8, 8), SimpleNamespace(inputs=torch.ones(2))]
)
def test_what_cannot_be_asked_beside_the_images_is_refused(losses_of, further):
    term = Own(lambda own, x: (own.loss_weight * x, {}))
    term.bring = lambda batch: further
    with pytest.raises(ConfigError, match=r'losses\.loss_own: Own\.bring must return None, or an'):
        losses_of(term)


def test_a_term_whose_own_weights_alone_learn_is_refused(losses_of):
    term = Own(lambda own, x: (own.loss_weight * x.detach() * own.scale, {}))
    term.scale = torch.nn.Parameter(torch.ones(()))
    with pytest.raises(ConfigError, match=r'losses\.loss_own: from Own its own weights alone'):
        losses_of(term)
    term.does = lambda own, x: (own.loss_weight * x * own.scale, {})
    assert losses_of(term)['loss_own'] > 0


@pytest.mark.usefixtures('own_losses')
@pytest.mark.parametrize('weight', [0.0, 3.0])
def test_a_loss_on_features_that_weighs_itself_too_is_refused(make_distiller, make_batch, weight):
    paths = dict(student='backbone.layer1', teacher='backbone.layer1')
    far = dict(type='mmbss.FarApart', loss_weight=weight, **paths)
    distiller = make_distiller(type='mmbss.Distiller', losses=dict(loss_far=far))
    loss = distiller.terms['loss_far']
    once = loss.compare
    assert distiller.try_terms(*make_batch(range(4)))['loss_far'] >= 0
    loss.compare = lambda *features: loss.loss_weight * once(*features)
    if weight:
        with pytest.raises(ConfigError, match='FarApart weighs itself, but a FeatureLoss is mult'):
            distiller.try_terms(*make_batch(range(4)))
