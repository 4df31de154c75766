import pytest
import torch
from mmengine.config import Config
from mmpretrain.models.tta import AverageClsScoreTTA
from mmpretrain.models.utils import ClsDataPreprocessor
from torch import nn

from mmbss.datasets import AugmentingDataPreprocessor
from mmbss.engine.errors import ConfigError
from mmbss.engine.fingerprint import settings_of
from mmbss.export import export_student, load_predictor
from mmbss.studies.classifiers import load_classifier
from mmbss.teachers.sources.load import load_source
from mmbss.teachers.trained_normalisation import check_trained_normalisation

IMAGENET = dict(mean=[123.675, 116.28, 103.53], std=[58.395, 57.12, 57.375], to_rgb=True)
FILES = [dict(type='LoadImageFromFile'), dict(type='PackInputs')]
ARRAYS = [dict(type='PackInputs')]


class Unit(ClsDataPreprocessor):
    """Somebody's own."""


KINDS = {each.__name__: each for each in (AugmentingDataPreprocessor, ClsDataPreprocessor, Unit)}


def config_of(preprocessor, pipeline=ARRAYS, within=False):
    loader = dict(dataset=dict(type='Any', pipeline=pipeline))
    cfg = dict(model=dict(type='ImageClassifier'))
    cfg |= dict(train_dataloader=loader, test_dataloader=loader)
    place = cfg['model'] if within else cfg
    place['data_preprocessor'] = preprocessor
    return Config(cfg)


def built(config, channels):
    given = config.get('model', {}).get('data_preprocessor') or config.get('data_preprocessor')
    preprocessor = dict(given or {})
    kind = preprocessor.pop('type', 'ClsDataPreprocessor').rpartition('.')[2]
    model = nn.Conv2d(channels, 1, 1)
    model.data_preprocessor = KINDS[kind](**preprocessor)
    return model


def check(trained, now, channels=3, wrap=lambda model: model):
    meta = dict(fingerprint=settings_of(trained)) if isinstance(trained, Config) else trained
    check_trained_normalisation(now, wrap(built(now, channels)), meta, 'a.pth')


@pytest.mark.parametrize(
    ('trained', 'now'),
    [
        (IMAGENET, dict(mean=[0.0] * 3, std=[1.0] * 3, to_rgb=False)),
        (IMAGENET, {}),
        (IMAGENET, None),
        (IMAGENET, dict(IMAGENET, to_rgb=False)),
        (None, IMAGENET),
        (dict(mean=[77.9], std=[95.9]), dict(mean=[77.9], std=[255])),
        (IMAGENET, dict(IMAGENET, type='mmbss.AugmentingDataPreprocessor', mean=[1, 2, 3])),
    ],
)
@pytest.mark.parametrize('within', [False, True])
def test_another_one_is_refused_with_both_values(trained, now, within):
    with pytest.raises(ConfigError, match=r'data_preprocessor has .*=.*, but a\.pth was trained'):
        check(config_of(trained), config_of(now, within=within))


def test_what_differs_is_named():
    now = config_of(dict(mean=[0.0], std=[1.0]))
    with pytest.raises(
        ConfigError,
        match=r'has mean=\[0\], std=\[1\], to_rgb=False, .* with mean=\[123\.675, 116\.28, '
        r'103\.53\], std=\[58\.395, 57\.12, 57\.375\], to_rgb=True: take',
    ):
        check(config_of(IMAGENET), now)


@pytest.mark.parametrize(
    ('trained', 'now'),
    [
        (IMAGENET, IMAGENET),
        (IMAGENET, {key: tuple(IMAGENET[key]) for key in ('mean', 'std')} | dict(to_rgb=True)),
        (IMAGENET, dict(IMAGENET, type='mmbss.AugmentingDataPreprocessor', crop_padding=4)),
        (IMAGENET, dict(IMAGENET, type='mmpretrain.ClsDataPreprocessor', num_classes=3)),
        (dict(mean=[77.9], std=[95.9]), dict(mean=[77.9000001] * 3, std=95.9)),
        (None, dict(mean=[0], std=[1.0], to_rgb=False)),
        (dict(mean=None, std=[3.0]), {}),
        (dict(type='mine.Unit'), IMAGENET),
        (IMAGENET, dict(type='mine.Unit')),
    ],
)
def test_the_same_in_other_words_passes(trained, now):
    check(config_of(trained), config_of(now))
    check(config_of(trained, within=True), config_of(now))


def test_the_order_is_compared_where_it_means_the_same():
    swapped = dict(IMAGENET, to_rgb=False)
    check(config_of(swapped), config_of(IMAGENET, FILES))  # arrays may be in any order
    check(config_of(swapped), config_of(IMAGENET), channels=1)
    with pytest.raises(ConfigError, match=r'to_rgb=True, .*to_rgb=False'):
        check(config_of(swapped, FILES), config_of(IMAGENET, FILES))


@pytest.mark.parametrize(
    'meta',
    [
        None,
        'text',
        {},
        dict(fingerprint=None),
        dict(fingerprint=[1]),
        dict(fingerprint={}),
        dict(fingerprint={3: 4, 'else': 'x'}),
        *(
            dict(
                fingerprint={f'data_preprocessor.{key}': value for key in ('mean', 'std', 'to_rgb')}
            )
            for value in ('[1, nan]', '[1, [2]]', '', 'Tensor', '1,' * 10**6, torch.ones(3), [1], 5)
        ),
        dict(fingerprint={'data_preprocessor': 'Mine', 'model.type': 'x'}),
        dict(fingerprint={'data_preprocessor.type': 5, 'data_preprocessor.mean': '[9]'}),
    ],
)
def test_what_a_checkpoint_says_may_be_anything(meta):
    check(meta, config_of(IMAGENET))


def test_one_that_averages_over_augmented_images_is_compared_too():
    def averaged(model):
        model.test_step = None  # it asks for one
        return AverageClsScoreTTA(model)

    with pytest.raises(ConfigError, match=r'but a\.pth was trained'):
        check(config_of(IMAGENET), config_of({}), wrap=averaged)


@pytest.fixture(scope='module')
def trained(digits_teacher, tmp_path_factory):
    """The digits' teacher as a training of the command line leaves it, with its fingerprint."""
    content = torch.load(digits_teacher['checkpoint'])
    content['meta']['fingerprint'] = settings_of(Config.fromfile(digits_teacher['config']))
    path = tmp_path_factory.mktemp('trained') / 'epoch_4.pth'
    torch.save(content, path)
    return dict(config=digits_teacher['config'], checkpoint=path)


def test_export_and_predict_refuse_it(trained, write_config, tmp_path):
    config = Config.fromfile(trained['config'])
    config.data_preprocessor = dict(mean=[0.0], std=[1.0])
    path = write_config(tmp_path / 'raw.py', config.to_dict())
    checkpoint = trained['checkpoint']
    message = (
        r'raw\.py: data_preprocessor has mean=\[0\], .*epoch_4\.pth was trained with mean=\[77'
    )
    with pytest.raises(ConfigError, match=message):
        export_student(path, checkpoint, tmp_path / 'out', formats=['pth'])
    assert not (tmp_path / 'out').exists()
    with pytest.raises(ConfigError, match=message):
        load_predictor(path, checkpoint)


def test_a_teacher_and_a_measured_student_are_compared(trained, write_config, tmp_path):
    config = Config.fromfile(trained['config'])
    config.data_preprocessor = dict(mean=[0.0], std=[1.0])
    other = str(write_config(tmp_path / 'raw.py', config.to_dict()))
    message = r'raw\.py: data_preprocessor has mean=\[0\], .*was trained with mean=\[77'
    own = dict(trained, checkpoint=str(trained['checkpoint']))
    load_source(own['config'], own['checkpoint'], None)
    load_classifier(own, 'the student')
    with pytest.raises(ConfigError, match=message):
        load_source(other, own['checkpoint'], None)
    with pytest.raises(ConfigError, match=message):
        load_classifier(dict(own, config=other), 'the student')
    # one that says nothing of it is asked about images normalised as its student's
    content = config.to_dict()
    del content['data_preprocessor']
    silent = str(write_config(tmp_path / 'silent.py', content))
    assert load_source(silent, own['checkpoint'], None).mean is None


def test_the_plain_config_of_an_export_is_that_of_the_training(trained, tmp_path):
    out = tmp_path / 'out'
    export_student(*trained.values(), out, formats=['pth'], check_images=1)
    (out / 'student.pth').unlink()
    (out / 'student.pth').symlink_to(trained['checkpoint'])
    load_predictor(out)
    text = (out / 'student.py').read_text()
    (out / 'student.py').write_text(text.replace('77.9', '7.9'))
    with pytest.raises(ConfigError, match=r'student\.pth was trained with mean'):
        load_predictor(out)
