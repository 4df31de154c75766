import pytest

from mmbss.distil.plan import LEAST, MARGIN, TEACHER, Costs, make_plan
from mmbss.distil.timing import Cost
from mmbss.engine.errors import ConfigError


@pytest.fixture
def costs():
    cheap, dear = Cost(10.0, 1.0, 0.5), Cost(10.0, 6.0, 0.5)
    trainings = {'labels': cheap, 'kd': cheap, 'bss': dear, TEACHER: cheap}
    return Costs(trainings, before=5.0, hand_over=10.0, report=80.0)


def plan_of(costs, minutes, steps=100, **changes):
    return make_plan(costs, ['labels', 'kd', 'bss'], minutes, steps, **changes)


@pytest.mark.parametrize('minutes', [3, 10, 30, 100, 1000])
def test_the_time_suffices(costs, minutes):
    plan = plan_of(costs, minutes)
    assert plan.seconds == costs.seconds(plan.methods, plan.rounds, plan.epochs)
    assert plan.seconds <= (1 - MARGIN) * costs.for_runs(minutes)


@pytest.mark.parametrize(('minutes', 'share'), [(1, 1 / 8), (5, 5 / 8), (60, 1)])
def test_a_report_is_made_smaller_where_there_is_little_time(costs, minutes, share):
    runs = costs.for_runs(minutes)
    assert runs == pytest.approx(60 * minutes - 5 - 10 - share * 80)
    assert costs.share(60 * minutes - 5 - runs) == pytest.approx(share)
    assert costs.share(-100) == 1 / 8


def test_more_time_for_epochs_first_then_for_settings(costs):
    plans = [plan_of(costs, minutes) for minutes in (4, 10, 20, 40, 100)]
    assert [plan.rounds for plan in plans] == sorted(plan.rounds for plan in plans)
    assert plans[0].rounds == 1
    assert plans[-1].rounds == 3
    assert all(plan.epochs >= 20 for plan in plans if plan.rounds > 1)


def test_no_endless_training(costs):
    assert plan_of(costs, 10**5, steps=6).epochs == 200
    assert plan_of(costs, 10**5, steps=6000).epochs == 30


def test_dear_methods_go_first(costs):
    plan = plan_of(costs, 1.7)
    assert plan.methods == ['labels', 'kd']
    assert any('bss' in note for note in plan.notes)
    assert plan.epochs >= LEAST


def test_too_little_time_names_enough(costs):
    with pytest.raises(ConfigError, match='give about') as refused:
        plan_of(costs, 0.1)
    enough = int(str(refused.value).partition('give about ')[2].split(',')[0])
    assert plan_of(costs, enough)


def test_what_was_asked_for_is_kept(costs):
    plan = plan_of(costs, 60, epochs=7, rounds=2)
    assert (plan.epochs, plan.rounds) == (7, 2)
    assert plan_of(costs, 1000, epochs=700).epochs == 700
    with pytest.raises(ConfigError, match='7 epochs'):
        plan_of(costs, 0.5, epochs=7)
