import re

import pytest

from mmbss.engine.errors import ConfigError
from mmbss.studies.study import read_study, study_of_configs

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


def test_settings_whose_keys_hold_dots_stay_whole(read):
    rates = "{'optim_wrapper.paramwise_cfg': dict(custom_keys={'head.fc': dict(lr_mult=0.1)})}"
    study = read(STUDY.replace('{_key: 3', rates + ' | {_key: 3'))
    study.check()
    keys = study.run('c', 0).merged.optim_wrapper.paramwise_cfg.custom_keys
    assert keys.to_dict() == {'head.fc': dict(lr_mult=0.1)}


def test_an_arm_may_have_the_first_seeds_alone(read):
    fewer = STUDY.replace('options={_key: 3', 'seeds=1, options={_key: 3')
    study = read(fewer)
    study.check()
    runs = [(run.arm, run.seed) for run in study.runs()]
    assert runs == [('a', 0), ('b', 0), ('c', 0), ('a', 3), ('b', 3)]
    for seeds in (0, 3, -1, 1.0):
        with pytest.raises(ConfigError, match=f'arm c: seeds={seeds} must be a whole number from'):
            read(fewer.replace('seeds=1', f'seeds={seeds}')).check()
    with pytest.raises(ConfigError, match='b is an arm of the contrast, which needs all seeds'):
        read(STUDY.replace("'b': dict(", "'b': dict(seeds=1, ")).check()


def test_an_arms_options_replace_common_ones_and_the_subset_follows_the_seed(read):
    plain, other, longer = (read().run(arm, 3).merged for arm in 'abc')
    assert plain.optim_wrapper.optimizer.lr == 0.2
    assert (other.optim_wrapper.optimizer.lr, other.optim_wrapper.clip_grad.max_norm) == (0.4, 0.5)
    assert (other.train_cfg.max_epochs, longer.train_cfg.max_epochs) == (1, 3)
    for cfg in (plain, other, longer):
        assert cfg.randomness.seed == cfg.train_dataloader.dataset.seed == 3


def test_a_contrast_that_names_no_arm_is_the_only_pair_that_is_named(read):
    with pytest.raises(ConfigError) as caught:
        read(STUDY.replace("contrast = ('b', 'a')", "contrast = ('b', 'z')")).check()
    (named,) = [line for line in str(caught.value).splitlines() if 'compares' in line]
    assert 'b with z' in named


def test_arms_are_compared_with_the_second_of_the_contrast(read):
    assert read().pairs == [('b', 'a'), ('c', 'a')]
    chosen = read(f"{STUDY}secondary = [('c', 'b'), ('b', 'a')]")
    assert chosen.pairs == [('b', 'a'), ('c', 'b')], 'the contrast is not a secondary one as well'


def test_a_right_study_is_accepted(read):
    read().check()
    read(f'{STUDY}looks = [2]').check()


@pytest.mark.parametrize(
    ('change', 'named'),
    [
        (('seeds = [0, 3]', 'seeds = [0, 0]'), 'two seeds are 0'),
        (("('b', 'a')", "('b', 'd')"), 'b with d'),
        (("('b', 'a')", "('b', 'b')"), 'b with b'),
        (('question =', 'margin = 0\nquestion ='), 'margin'),
        *(
            (('question =', f'looks = {looks}\nquestion ='), 'looks')
            for looks in ([1, 2], [2, 2], [2, 3], [3])
        ),
        (("contrast = ('b', 'a')", 'looks = [2]'), 'looks'),
        ((", options={'optim_wrapper.optimizer.lr': 0.4, CLIP: 0.5}", ''), 'b and a are the same'),
        (('CLIP: 0.5', "'val_dataloader.dataset.split': 'train'"), r"val_dataloader.*'train' in b"),
        (('CLIP: 0.5', "'val_evaluator.topk': (1, 2)"), r'val_evaluator\.topk'),
        (('question =', "teacher = 'teacher.onnx'\nquestion ="), 'no config to train'),
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
        (('seeds = [0, 3]', ''), "lacks 'seeds'"),
    ],
)
def test_unknown_and_missing_keys_are_refused(read, change, named):
    with pytest.raises(ConfigError, match=named):
        read(STUDY.replace(*change))


@pytest.mark.parametrize(
    'line',
    [
        *(f'seeds = {value}' for value in ('3', 'None', '"01"', '[0, True]', '[0, 0.5]', '{0, 1}')),
        *(f'arms = {value}' for value in ("['a']", 'None', "{'a': 'plain.py'}", "{'a': {}}")),
        *(f'arms = dict(a=dict(config={value}))' for value in ('None', '3', "['plain.py']")),
        *(
            f"arms = dict(a=dict(config='plain.py', options={value}))"
            for value in ('None', "['a=1']", "'a=1'")
        ),
        *(f'contrast = {value}' for value in ("('b',)", '5', "'kd'", "('a', 'b', 'c')", '(0, 1)')),
        *(f'secondary = {value}' for value in ('3', "('a', 'b')", "[('a',)]", "['ab']", "'ab'")),
        *(f'margin = {value}' for value in ("'0.5'", 'None', 'True', "float('inf')", '[1]')),
        *(f'common = {value}' for value in ('None', "['a=1']", "'a=1'")),
        *(f'looks = {value}' for value in ('None', '2', "['2']", '[2.5]')),
        *(f'seed_keys = {value}' for value in ('None', "'a.b'", '[3]', '{}')),
        *(f'teacher = {value}' for value in ("['plain.py']", '{}', '3')),
        *(f'metric = {value}' for value in ('None', "['accuracy/top1']", '1')),
        *(f'evaluators = {value}' for value in ("dict(type='Accuracy')", "'Accuracy'", "['a']")),
        *(f'question = {value}' for value in ('None', '3')),
        *("name = 'other'", "results = 'elsewhere'"),
    ],
)
def test_a_key_of_another_type_is_refused_by_its_name(read, line):
    key = line.partition(' ')[0]
    with pytest.raises(ConfigError, match=f'helps.py.*{key}|arm a of helps.py') as caught:
        read(f'{STUDY}{line}')
    assert all('\n' not in one for one in caught.value.args)


def test_seeds_may_be_a_range(read):
    assert read(f'{STUDY}seeds = range(3)').seeds == [0, 1, 2]


ALONE = "_one = dict(config='plain.py')\ncontrast = None\n"


@pytest.mark.parametrize(
    ('lines', 'named'),
    [
        ("common = {'randomness.seed': 5}", "common: 'randomness.seed' is set"),
        ('common = dict(randomness=dict(seed=5))', "common: 'randomness.seed' is set"),
        ("arms = dict(a=dict(config='plain.py', options={'work_dir': 'x'}))", "'work_dir' is set"),
        *(
            (f'common = {{{key!r}: {value!r}}}', f'{key!r} is set')
            for key, value in {
                'launcher': 'pytorch',
                'resume': True,
                'load_from': 'x.pth',
                'default_hooks.checkpoint.out_dir': 'x',
                'train_dataloader.dataset.seed': 5,
            }.items()
        ),
        ("common = {'model.losses': {}}", "'model.losses' is empty"),
        (
            "common = {'optim_wrapper.clip_grad.norm_type': float('inf')}",
            'b: optim_wrapper.clip_grad.norm_type=inf cannot be read again',
        ),
        ("seed_keys = ['randomness.seed']", "seed_keys: 'randomness.seed'"),
        ('seeds = [0, 2**40]', 'seeds: 1099511627776'),
        ('seeds = [0, -1]', 'seeds: -1'),
        ('seeds = []', 'needs an arm and a seed'),
        ('arms = {}', 'needs an arm and a seed'),
        *(
            (f'{ALONE}arms = {{{name!r}: _one}}', rf'arms: {re.escape(repr(name))} is no name')
            for name in ('../../../evil/kd', '..', '', 'a|b', '.hidden', 'a/b', 'a\nb')
        ),
        (f'{ALONE}arms = {{3: _one}}', '3'),
        ("teacher = 'folder/a.py'", 'an arm and the teacher are both called a'),
        ("arms = dict(a=dict(config='mmbss::kd.py'), b=dict(config='plain.py'))", 'a: no config'),
        ("metric = 'accuracy/top5'", r'accuracy/top5.*accuracy/top1'),
        ("metric = 'top1'", 'set it to one of accuracy/top1'),
        ("metric = 'loss'", 'set it to one of accuracy/top1'),
        ("common = {'val_cfg': None}", 'a: .*val'),
        ("teacher = 'gone.py'", r"gone: no config file 'gone\.py'"),
        ("teacher = 'crooked.py'", r"crooked: .*'lrr'"),
    ],
)
def test_what_would_be_wrong_in_a_run_is_found_before_it(read, tmp_path, lines, named):
    text = (tmp_path / 'plain.py').read_text()
    (tmp_path / 'crooked.py').write_text(text.replace('lr=', 'lrr='))
    with pytest.raises(ConfigError, match=named):
        read(f'{STUDY}{lines}').check()


def test_a_config_that_starts_from_other_weights_or_writes_elsewhere_is_refused(read, tmp_path):
    with (tmp_path / 'plain.py').open('a') as config:
        config.write("\nload_from = 'x.pth'\ndefault_hooks = dict(checkpoint=dict(out_dir='x'))\n")
    with pytest.raises(ConfigError, match='load_from') as caught:
        read().check()
    assert 'out_dir' in str(caught.value)


@pytest.mark.parametrize(
    ('evaluator', 'named'),
    [
        ("dict(type='mmbss.Agreemnt')", "did you mean 'mmbss.Agreement'"),
        ("dict(type='mmbss.CalibrationError', bin=3)", "no key 'bin'"),
        ("dict(type='mmbss.CorruptionAccuracy', num_samples=0)", 'num_samples'),
        ("dict(type='Accuracy', topk=0)", 'topk'),
        ('dict(topk=1)', 'with a type'),
        ("dict(type='mmbss.Agreement')", 'has no teacher'),
        ("dict(type='mmbss.Agreement', teacher=dict(config='plain.py'))", "'checkpoint'"),
        (
            "dict(type='mmbss.Agreement', teacher=dict(config='gone.py', checkpoint='gone.pth'))",
            r'gone\.py',
        ),
    ],
)
def test_evaluators_are_looked_at_before_a_run_starts(read, evaluator, named):
    with pytest.raises(ConfigError, match=rf'evaluators\.0.*{named}'):
        read(f'{STUDY}evaluators = [{evaluator}]').check()


def test_evaluators_and_metrics_that_can_be_asked_are_accepted(read):
    teacher = "dict(config='plain.py', checkpoint='trained/later.pth')"
    listed = (
        f"[dict(type='Accuracy', topk=(1, 3)), dict(type='mmbss.Agreement', teacher={teacher})]"
    )
    read(f'{STUDY}evaluators = {listed}').check()


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
