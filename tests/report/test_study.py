import pytest

from mmbss.engine.errors import ConfigError
from mmbss.report.study import read_study, study_of_configs

STUDY = """
question = 'Does b help?'
CLIP = 'optim_wrapper.clip_grad.max_norm'
common = {'optim_wrapper.optimizer.lr': 0.2, 'train_cfg.max_epochs': 1}
arms = {
    'a': dict(config='plain.py'),
    'b': dict(config='plain.py', options={'optim_wrapper.optimizer.lr': 0.4, CLIP: 0.5}),
    'c': dict(config='plain.py', options={_key: 3 for _key in ['train_cfg.max_epochs']}),
}
seeds = [0, 3]
seed_keys = ['train_dataloader.dataset.seed']
contrast = ('b', 'a')
"""


@pytest.fixture
def read(tmp_path, monkeypatch, run_settings, resnet_config, write_config):
    monkeypatch.chdir(tmp_path)
    settings = run_settings('unused', resnet_config())
    digits = settings['train_dataloader']['dataset']
    settings['train_dataloader']['dataset'] = dict(type='mmbss.StratifiedSubset', dataset=digits)
    write_config(tmp_path / 'plain.py', settings)

    def read(text=STUDY):
        (tmp_path / 'helps.py').write_text(text)
        return read_study('helps.py', tmp_path / 'results')

    return read


def test_every_arm_is_run_with_every_seed(read, tmp_path):
    runs = read().runs()
    assert [(run.arm, run.seed) for run in runs] == [(arm, k) for k in (0, 3) for arm in 'abc']
    assert {str(run.folder) for run in runs[1::3]} == {
        f'work_dirs/studies/helps/b/seed_{seed}' for seed in (0, 3)
    }


def test_an_arms_options_replace_common_ones_and_the_subset_follows_the_seed(read):
    plain, other, longer = (read().run(arm, 3).merged for arm in 'abc')
    assert plain.optim_wrapper.optimizer.lr == 0.2
    assert (other.optim_wrapper.optimizer.lr, other.optim_wrapper.clip_grad.max_norm) == (0.4, 0.5)
    assert (other.train_cfg.max_epochs, longer.train_cfg.max_epochs) == (1, 3)
    for cfg in (plain, other, longer):
        assert cfg.randomness.seed == cfg.train_dataloader.dataset.seed == 3


def test_arms_are_compared_with_the_second_of_the_contrast(read):
    assert read().pairs == [('b', 'a'), ('c', 'a')]
    chosen = read(f"{STUDY}secondary = [('c', 'b'), ('b', 'a')]")
    assert chosen.pairs == [('b', 'a'), ('c', 'b')], 'the contrast is not a secondary one as well'


def test_a_right_study_is_accepted(read):
    read().check()


@pytest.mark.parametrize(
    ('change', 'named'),
    [
        (('seeds = [0, 3]', 'seeds = [0, 0]'), 'two seeds are 0'),
        (("('b', 'a')", "('b', 'd')"), 'b with d'),
        (("('b', 'a')", "('b', 'b')"), 'b with b'),
        (('question =', 'margin = 0\nquestion ='), 'margin'),
        (("config='plain.py'", "config='gone.py'"), r"a: no config file 'gone\.py'"),
        (('optimizer.lr', 'optimizer.lrr'), "c: .*'lrr'"),
        (('clip_grad', 'clip_grads'), "b: .*'clip_grads'"),
        (('train_dataloader.dataset.seed', 'train_dataloader.dataset.sed'), "a: .*'sed'"),
    ],
)
def test_mistakes_are_found_before_a_run_starts(read, change, named):
    with pytest.raises(ConfigError, match=named):
        read(STUDY.replace(*change)).check()


@pytest.mark.parametrize(
    ('change', 'named'),
    [
        (('contrast', 'contrasts'), "did you mean 'contrast'"),
        (('options=', 'option='), "arm b .*did you mean 'options'"),
        (('seeds = [0, 3]', ''), 'no seeds'),
    ],
)
def test_unknown_and_missing_keys_are_refused(read, change, named):
    with pytest.raises(ConfigError, match=named):
        read(STUDY.replace(*change))


def test_configs_are_a_study_of_one_arm_each(tmp_path):
    study = study_of_configs(['x/a.py', 'y/b.py'], tmp_path, seeds=[1], teacher='z/t.py')
    assert [run.folder for run in study.runs()] == [tmp_path / n / 'seed_1' for n in 'ab']
    assert study.pairs == []
    assert (study.teacher_run().config, str(study.teacher_run().folder)) == (
        'z/t.py',
        'work_dirs/t',
    )
    with pytest.raises(ConfigError, match='two configs are called a'):
        study_of_configs(['x/a.py', 'y/a.py'], tmp_path, seeds=[1])
