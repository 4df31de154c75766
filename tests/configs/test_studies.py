"""The files in studies/: their arms can be built, and are what their names say."""

from dataclasses import replace
from pathlib import Path

import pytest

import mmbss
from mmbss.registry import DATASETS
from mmbss.studies.files import read_results
from mmbss.studies.study import read_study

ROOT = Path(mmbss.__file__).resolve().parents[1]
FILES = sorted((ROOT / 'studies').glob('*.py'))


@pytest.fixture(scope='module', params=FILES, ids=lambda path: path.stem)
def study(request, tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(ROOT)
        yield read_study(str(request.param), tmp_path_factory.mktemp('results'))


@pytest.fixture(scope='module')
def runs(study):
    """A run of each arm; each puts its config together once."""
    return [study.run(name, 5) for name in study.arms]


def test_a_study_has_no_mistakes_and_its_arms_can_be_built(study, runs, build):
    study.check()
    built = []
    for run in runs:
        if run.merged.model not in built:
            built.append(run.merged.model)
            build(run.merged)


def test_the_arms_of_a_study_differ(study, runs):
    assert len({run.digest for run in runs}) == len(study.arms)


def test_stored_results_are_of_the_arms_as_they_are_today(study, monkeypatch):
    monkeypatch.chdir(ROOT)  # the teacher's checkpoint may be here or not
    stored = read_results(replace(study, results=ROOT / 'studies' / 'results' / study.name))
    of_arms = {arm: result for (arm, _), result in stored.items() if arm in study.arms}
    strange = [
        arm for arm, result in of_arms.items() if not result.is_of(study.run(arm, result.seed))
    ]
    assert not strange


def test_the_subset_follows_the_seed_and_the_test_set_is_looked_at_once(runs):
    for run in runs:
        cfg = run.merged
        dataset = cfg.train_dataloader.dataset
        assert cfg.randomness.seed == 5
        assert dataset.get('fraction', 1) == 1 or dataset.seed == 5
        assert cfg.train_cfg.val_interval == cfg.train_cfg.max_epochs


def test_settings_are_chosen_on_images_that_are_neither_trained_nor_tested_on():
    study = read_study(str(ROOT / 'studies' / 'baselines.py'), ROOT)
    for name in study.arms:
        cfg = study.run(name, 0).merged
        trained, validated = cfg.train_dataloader.dataset.dataset, cfg.val_dataloader.dataset
        assert validated.data_file == trained.data_file
        assert (trained.indices, validated.indices) == (45000, -5000)


def test_students_of_few_images_all_see_as_many_batches():
    study = read_study(str(ROOT / 'studies' / 'few_images.py'), ROOT)
    for name in study.arms:
        cfg = study.run(name, 0).merged
        images = 50000 * cfg.train_dataloader.dataset.fraction
        assert round(images) == 10 * int(name.split('-')[1])
        iterations = -(-round(images) // 64) * cfg.train_cfg.max_epochs
        assert iterations == pytest.approx(3160, rel=0.01)


def test_students_of_the_digits_all_see_as_many_batches():
    study = read_study(str(ROOT / 'studies' / 'digits.py'), ROOT)
    for name in study.arms:
        cfg = study.run(name, 0).merged
        dataset = DATASETS.build(cfg.train_dataloader.dataset)
        assert len(dataset) in (50, 1257)
        assert -(-len(dataset) // 64) * cfg.train_cfg.max_epochs == 300
        assert dataset.keeps_labels == (len(dataset) == 50)
