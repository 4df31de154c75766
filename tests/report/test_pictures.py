from mmbss.report.pictures import choose_curves
from mmbss.report.run_logs import read_run


def test_curves_are_those_that_are_logged():
    logged = ['lr', 'loss', 'loss_kd', 'loss_cls', 'weight_kd', 'bss_samples', 'bss_accepted']
    names = [curve.name for curve in choose_curves(logged, 'accuracy/top1')]
    assert names == ['accuracy', 'loss', 'loss_cls', 'loss_kd', 'bss_accepted', 'weight_kd']


def test_each_of_two_boundaries_has_its_curves():
    logged = [f'{term}_{name}' for term in ('near', 'far') for name in ('samples', 'accepted')]
    curves = choose_curves(logged, 'accuracy/top1')[1:]
    assert [curve.name for curve in curves] == ['far_accepted', 'near_accepted']
    assert ['loss_far' in curves[0].title, 'loss_near' in curves[1].title] == [True, True]


def test_the_attack_is_drawn_where_it_has_samples(make_run, tmp_path):
    run = read_run(make_run(tmp_path / 'bss'))
    (curve,) = choose_curves(['bss_samples', 'bss_accepted'], 'accuracy/top1')[1:]
    assert list(curve.read(run)) == [1, 2]
