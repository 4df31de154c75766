from written_runs import write_run

from mmbss.report.pictures import choose_curves, curve_pictures
from mmbss.studies.experiments import by_experiment
from mmbss.studies.run_logs import read_run


def test_curves_are_those_that_are_logged():
    logged = ['lr', 'loss', 'loss_kd', 'loss_cls', 'weight_kd', 'bss_samples', 'bss_accepted']
    names = [curve.name for curve in choose_curves(logged, 'accuracy/top1')]
    assert names == ['accuracy', 'loss', 'loss_cls', 'loss_kd', 'bss_accepted', 'weight_kd']


def test_each_of_two_boundaries_has_its_curves():
    logged = [f'{term}_{name}' for term in ('near', 'far') for name in ('samples', 'accepted')]
    curves = choose_curves(logged, 'accuracy/top1')[1:]
    assert [curve.name for curve in curves] == ['far_accepted', 'near_accepted']
    assert ['loss_far' in curves[0].title, 'loss_near' in curves[1].title] == [True, True]


def test_runs_that_count_in_epochs_and_in_iterations_share_an_axis(tmp_path):
    names = dict(a=True, b=False)
    runs = [read_run(write_run(tmp_path / name, by_epoch=own)) for name, own in names.items()]
    styles = dict.fromkeys(names, ('red', '-'))
    pictures = curve_pictures(by_experiment(runs), 'accuracy/top1', styles)
    (axis,) = next(each for each in pictures if each.name == 'curve-loss').figure.axes
    assert axis.get_xlabel() == 'iteration'
    assert [max(line.get_xdata()) for line in axis.lines] == [30, 30]
    pictures = curve_pictures(by_experiment(runs[:1]), 'accuracy/top1', styles)
    (axis,) = next(each for each in pictures if each.name == 'curve-loss').figure.axes
    assert (axis.get_xlabel(), max(axis.lines[0].get_xdata())) == ('epoch', 3)


def test_an_ordinate_has_its_own_unit():
    labels = [choose_curves([], name)[0].y_label for name in ('accuracy/top1', 'agreement/kl')]
    assert labels == ['accuracy/top1 (%)', 'agreement/kl (nats)']


def test_the_attack_is_drawn_where_it_has_samples(tmp_path):
    run = read_run(write_run(tmp_path / 'bss'))
    (curve,) = choose_curves(['bss_samples', 'bss_accepted'], 'accuracy/top1')[1:]
    assert list(curve.read(run)) == [1, 2]
