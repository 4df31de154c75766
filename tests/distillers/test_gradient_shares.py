import copy

import pytest
import torch
from torch import nn

from mmbss.distillers.gradient_shares import (
    as_shares,
    check_shares,
    gradient_magnitude,
    share_gradient,
    weights_for_shares,
)
from mmbss.engine.errors import ConfigError
from mmbss.losses import kd_loss

FEATURES = dict(type='mmbss.AttentionLoss', student='backbone.layer1', teacher='backbone.layer1')


@pytest.fixture
def pair():
    return torch.randn(6, 4, requires_grad=True), 3 * torch.randn(6, 4)


# ---------------------------------------------------------------- the magnitude


@pytest.mark.parametrize('temperature', [1.0, 3.0])
def test_of_cross_entropy_it_is_the_closed_form(pair, temperature):
    student, teacher = pair
    difference = (student / temperature).softmax(1) - (teacher / temperature).softmax(1)
    expected = (difference / temperature).norm(dim=1).mean()
    found = gradient_magnitude(4 * kd_loss(student, teacher, temperature), [student])
    torch.testing.assert_close(found, 4 * expected.detach())


def test_it_is_summed_over_all_rows_of_all_logits(pair):
    student, teacher = pair
    others = torch.randn(3, 4, requires_grad=True)
    loss = (student**2 * teacher).sum() + (others**3).sum()
    expected = 0.0
    for row, weight in zip(student.tolist(), teacher.tolist(), strict=True):
        expected += sum((2 * x * w) ** 2 for x, w in zip(row, weight, strict=True)) ** 0.5
    for row in others.tolist():
        expected += sum((3 * x * x) ** 2 for x in row) ** 0.5
    unrelated = torch.zeros(2, 4, requires_grad=True)
    found = gradient_magnitude(loss, [student, others, unrelated, torch.zeros(1, 4)])
    assert found.item() == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize('dtype', [torch.float16, torch.bfloat16])
def test_gradients_of_many_samples_do_not_vanish_in_half_precision(dtype):
    student = torch.randn(4096, 10).to(dtype).requires_grad_()
    teacher = student.detach().float() + 0.01 * torch.randn(4096, 10)
    whole = student.detach().float().requires_grad_()
    found, expected = (
        gradient_magnitude(kd_loss(logits, teacher, 4.0), [logits]) for logits in (student, whole)
    )
    torch.testing.assert_close(found, expected, rtol=0.01, atol=0)


def test_a_loss_of_something_else_has_none(pair):
    student, _ = pair
    assert gradient_magnitude(nn.Linear(2, 2).weight.sum(), [student]) is None
    assert gradient_magnitude(torch.ones(()), [student]) is None


# ---------------------------------------------------------------- weights for shares


@pytest.mark.parametrize('shares', [dict(bss=0.3), dict(bss=0.3, kd=0.5), dict(bss=0.98)], ids=str)
def test_weights_give_the_shares(shares):
    magnitudes = {name: torch.rand(()) + 0.1 for name in ('kd', 'bss', 'cls')}
    weights = weights_for_shares(magnitudes, shares)
    weighed = {name: value * weights.get(name, 1) for name, value in magnitudes.items()}
    total = sum(weighed.values())
    for name, share in shares.items():
        assert (weighed[name] / total).item() == pytest.approx(share, rel=1e-5)
        torch.testing.assert_close(as_shares(weighed)[name], weighed[name] / total)


def test_what_has_found_nothing_leaves_its_share_to_the_others():
    magnitudes = dict(kd=torch.tensor(2.0), bss=torch.tensor(0.0), cls=torch.tensor(3.0))
    weights = weights_for_shares(magnitudes, dict(bss=0.6, kd=0.25))
    assert weights['bss'] == 0
    assert weights['kd'].item() == pytest.approx(0.5)
    nothing_else = weights_for_shares(dict(magnitudes, cls=torch.tensor(0.0)), dict(kd=0.25))
    assert nothing_else['kd'] == 1
    assert as_shares(dict(kd=torch.zeros(())))['kd'] == 0


def test_shares_that_leave_nothing_are_refused():
    check_shares(dict(loss_a=0.5, loss_b=0.4))
    with pytest.raises(ConfigError, match='loss_a, loss_b sum to 1'):
        check_shares(dict(loss_a=0.5, loss_b=0.5))


def test_all_that_the_head_puts_out_is_one_loss(pair):
    student, _ = pair
    losses = dict(
        loss_cls=student.square().sum(),
        loss_second=student.square().sum(),
        accuracy=student.sum(),
        loss_kd=4 * student.square().sum(),
    )
    changed = share_gradient(
        losses, dict(loss_cls=[student], loss_kd=[student]), {}, log_shares=True
    )
    assert set(changed) == {'cls_share', 'kd_share'}
    assert changed['cls_share'].item() == pytest.approx(1 / 3)


# ---------------------------------------------------------------- in a distiller


@pytest.fixture
def make(make_distiller):
    def make(shares, **boundary):
        losses = dict(loss_kd=dict(type='mmbss.KDLoss', temperature=3.0))
        distiller = make_distiller(losses=losses, boundary=boundary, favoured=3)
        for name, share in shares.items():
            distiller.terms[name].share = share
        return distiller

    return make


@pytest.fixture
def settings(boundary_config):
    return boundary_config(train_on='all', base_samples='all')


def step(distiller, batch):
    torch.manual_seed(2)
    return distiller.loss(*batch)


@pytest.mark.parametrize(
    'changes',
    [
        {},
        dict(candidates='teacher_correct'),
        dict(candidates='teacher_correct', batch_norm='own'),
    ],
    ids=str,
)
def test_terms_get_their_share(make, settings, make_batch, changes):
    shares = dict(loss_bss=0.3, loss_kd=0.2)
    distiller = make(shares, **settings, **changes)
    plain = copy.deepcopy(distiller)
    for term in plain.terms.values():
        term.share = None
    batch = make_batch([3] * 12)
    distiller.logs_shares = True
    found, without = step(distiller, batch), step(plain, batch)
    assert found['bss_share'].item() == pytest.approx(0.3, rel=1e-4)
    assert found['kd_share'].item() == pytest.approx(0.2, rel=1e-4)
    assert found['cls_share'].item() == pytest.approx(0.5, rel=1e-4)
    for name in ('bss', 'kd'):
        expected = found[f'weight_{name}'] * without[f'loss_{name}']
        torch.testing.assert_close(found[f'loss_{name}'], expected)
    # as measured by weighing the losses with what was logged
    for name in shares:
        plain.terms[name].loss_weight = found[f'weight_{name[5:]}'].item()
        plain.logs_shares = True
    measured = step(plain, batch)
    assert measured['bss_share'].item() == pytest.approx(share_of(found, 'bss'), rel=1e-3)
    assert 'weight_bss' not in measured


def share_of(losses, name):
    return losses[f'{name}_share'].item()


def test_what_is_logged_changes_nothing(make, settings, make_batch):
    distiller, batch = make({}, **settings), make_batch([3] * 12)
    gradients = []
    for distiller.logs_shares in (False, True):
        losses = step(distiller, batch)
        assert ('bss_share' in losses) == distiller.logs_shares
        distiller.zero_grad()
        sum(value for name, value in losses.items() if 'loss' in name).backward()
        gradients.append([parameter.grad.clone() for parameter in distiller.parameters()])
    assert all(map(torch.equal, *gradients))


def test_a_step_without_boundary_samples(make, settings, make_batch):
    distiller = make(dict(loss_bss=0.3), **settings)
    distiller.logs_shares = True
    losses = step(distiller, make_batch([4] * 6))  # nobody is right
    assert losses['bss_samples'] == losses['loss_bss'] == losses['weight_bss'] == 0
    assert losses['bss_share'] == 0
    assert (losses['kd_share'] + losses['cls_share']).item() == pytest.approx(1)


def test_terms_of_weight_0_are_logged_with_a_share_of_0(make, settings, make_batch):
    distiller = make({}, **settings)
    distiller.logs_shares = True
    for term in distiller.terms.values():
        term.loss_weight = 0.0
    losses = step(distiller, make_batch([3] * 6))
    assert (losses['cls_share'], losses['kd_share'], losses['bss_share']) == (1, 0, 0)


def test_losses_on_features_have_no_share(make_distiller, make_batch):
    kd = dict(type='mmbss.KDLoss')
    distiller = make_distiller(
        type='mmbss.Distiller', losses=dict(loss_at=FEATURES, loss_kd=dict(kd, share=0.4))
    )
    distiller.logs_shares = True
    losses = distiller.loss(*make_batch(range(6)))
    assert 'at_share' not in losses
    assert losses['kd_share'].item() == pytest.approx(0.4)
    with pytest.raises(ConfigError, match='loss_at can have no share'):
        make_distiller(
            type='mmbss.Distiller', losses=dict(loss_at=dict(FEATURES, share=0.4))
        ).try_terms(*make_batch(range(2)))


def test_there_must_be_another_loss_to_share_with(make_distiller, make_batch, resnet_config):
    student = resnet_config()
    student['head']['loss'] = dict(type='CrossEntropyLoss', loss_weight=0.0)
    losses = dict(loss_at=FEATURES, loss_kd=dict(type='mmbss.KDLoss', share=0.4))
    distiller = make_distiller(student, type='mmbss.Distiller', losses=losses)
    batch = make_batch(range(2))
    with pytest.raises(ConfigError, match=r'losses\.loss_kd: beside it no loss has a gradient'):
        distiller.try_terms(*batch)
    # where it comes to that while a run goes on, as by a schedule, the run goes on
    assert distiller.loss(*batch)['weight_kd'] == 1


@pytest.mark.parametrize(
    ('term', 'message'),
    [
        (dict(share=0.0), r'share is one of the gradient, in \(0, 1\), got 0'),
        (dict(share=1), 'share is one of the gradient'),
        (dict(share='half'), "got 'half'"),
        (dict(share=0.3, loss_weight=2.0), 'loss_weight=2.0 would not be used'),
    ],
)
def test_shares_that_cannot_be_are_refused(make_distiller, term, message):
    with pytest.raises(ConfigError, match=message):
        make_distiller(losses=dict(loss_kd=dict(type='mmbss.KDLoss', **term)))


def test_shares_of_all_terms_together_are_checked(make_distiller, boundary_config):
    with pytest.raises(ConfigError, match=r'sum to 1\.2'):
        make_distiller(
            losses=dict(loss_kd=dict(type='mmbss.KDLoss', share=0.5)),
            boundary=boundary_config(share=0.7),
        )


def test_shares_hold_under_autocast(make, settings, make_batch):
    distiller = make(dict(loss_bss=0.3), **settings)
    distiller.logs_shares = True
    with torch.autocast('cpu', torch.bfloat16):
        losses = step(distiller, make_batch([3] * 8))
    assert losses['bss_share'].item() == pytest.approx(0.3, rel=1e-3)
    sum(value for name, value in losses.items() if 'loss' in name).backward()
    assert all(parameter.grad.isfinite().all() for parameter in distiller.parameters())


def weights_of_one(rank, folder, distiller, inputs, samples):
    part = slice(0, 4) if rank == 0 else slice(4, None)
    losses = distiller.loss(inputs[part], samples[part])
    log = {name: value.item() for name, value in losses.items() if 'loss' not in name}
    torch.save(log, folder / f'{rank}.pth')


def test_two_processes_have_one_weight(make, settings, make_batch, in_two_processes, tmp_path):
    distiller = make(dict(loss_bss=0.3), **settings)
    distiller.logs_shares = True
    # the second process finds no sample
    inputs, samples = make_batch([3] * 4 + [5] * 6)
    in_two_processes(weights_of_one, tmp_path, distiller, inputs, samples)
    first, second = (torch.load(tmp_path / f'{rank}.pth') for rank in (0, 1))
    assert (first['bss_samples'], second['bss_samples']) == (4, 0)
    for name in ('weight_bss', 'bss_share', 'kd_share', 'cls_share'):
        assert first[name] == second[name]
    assert first['weight_bss'] > 0
    assert first['bss_share'] == pytest.approx(0.3, rel=1e-4)
