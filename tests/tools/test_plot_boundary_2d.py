import pytest
import torch


@pytest.fixture(scope='module')
def tool(load_tool):
    module = load_tool('plot_boundary_2d')
    module.NUM_STEPS = 250  # seconds count here, not the last percent
    return module


@pytest.fixture(scope='module')
def outcome(tool):
    return tool.run(seed=0)


def test_boundary_samples_lie_on_the_teachers_boundary(tool, outcome):
    found = outcome.found
    assert len(found.inputs) > 30
    gaps = (found.teacher_logits[:, 0] - found.teacher_logits[:, 1]).abs()
    assert gaps.quantile(0.8) < 0.1
    lowest, highest = torch.tensor(tool.WINDOW).unbind(dim=1)
    assert ((found.inputs >= lowest) & (found.inputs <= highest)).all()
    assert ((found.inputs - outcome.samples[found.rows]).norm(dim=1) > 0).all()


def test_the_teacher_separates_the_half_circles(tool, outcome):
    (left, right), (bottom, top) = tool.WINDOW
    inside = (outcome.samples > torch.tensor([left, bottom])).all(dim=1)
    inside &= (outcome.samples < torch.tensor([right, top])).all(dim=1)
    samples, labels = outcome.samples[inside], outcome.labels[inside]
    column = ((samples[:, 0] - left) / (right - left) * 199).round().long()
    row = ((samples[:, 1] - bottom) / (top - bottom) * 199).round().long()
    decisions = outcome.grids['teacher'][row, column] > 0
    assert (decisions.long() == labels).float().mean() > 0.9


def test_boundary_samples_help_here(outcome):
    assert outcome.agreement('teacher') == 1
    assert outcome.agreement('KD + BSS') > outcome.agreement('labels') > 0.5
    assert outcome.gain == outcome.agreement('KD + BSS') - outcome.agreement('KD')


def test_pictures_and_shares_are_written(tool, outcome, monkeypatch, tmp_path, capsys):
    monkeypatch.setattr(tool, 'run', lambda seed: outcome)
    monkeypatch.setattr('sys.argv', ['plot', '--out', str(tmp_path), '--seeds', '3'])
    tool.main()
    share = f'{100 * outcome.agreement("KD"):.1f}'
    assert f'KD: mean {share}; by seed {share} {share} {share}' in capsys.readouterr().out
    for theme in ('light', 'dark'):
        svg = (tmp_path / f'boundary-2d-{theme}.svg').read_text()
        assert f'decides like the teacher on {outcome.agreement("KD"):.1%}' in svg
        assert svg.count('>input 1<') == 4
        assert '>input 2<' in svg


def test_no_seed_is_refused(call_tool, tmp_path):
    with pytest.raises(SystemExit, match=r'^error: --seeds must be at least 1, got 0'):
        call_tool('plot_boundary_2d', '--seeds', 0, '--out', tmp_path)
