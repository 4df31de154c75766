import mmcv
import numpy as np
import pytest
from mmengine.registry import FUNCTIONS
from mmpretrain.models import ClsDataPreprocessor

from mmbss.engine.errors import ConfigError
from mmbss.engine.trial.training import try_training

LOAD = [dict(type='LoadImageFromFile', color_type='grayscale'), dict(type='PackInputs')]


@pytest.fixture
def runner(make_runner, resnet_config, run_settings, tmp_path):
    """A runner that trains and validates on six images, whose sizes may differ."""

    def make(train=(), val=(), pipeline=LOAD, batch_size=2, without_label=False):
        loaders = {}
        for name, sizes in dict(train=dict(train), val=dict(val)).items():
            folder = tmp_path / name
            for i in range(6):
                image = np.full((*sizes.get(i, (8, 8)),), 40 * i, np.uint8)
                mmcv.imwrite(image, str(folder / 'ab'[i // 3] / f'{i}.png'))
            dataset = dict(type='CustomDataset', data_prefix=str(folder), pipeline=pipeline)
            if without_label and name == 'val':
                dataset['with_label'] = False
            loaders[f'{name}_dataloader'] = dict(
                batch_size=batch_size,
                num_workers=0,
                dataset=dataset,
                sampler=dict(type='DefaultSampler', shuffle=False),
                collate_fn=dict(type='default_collate'),
            )
        metric = dict(type='Accuracy', topk=(1,))
        both = dict(val_cfg={}, test_cfg={}, val_evaluator=metric, test_evaluator=metric)
        return make_runner(resnet_config(num_classes=2), epochs=1, **both, **loaders)

    return make


@pytest.mark.parametrize('name', ['train', 'val'])
@pytest.mark.parametrize('row', [0, 5])
def test_an_image_of_another_size_is_named(runner, name, row):
    with pytest.raises(
        ConfigError, match=rf'^{name}_dataloader\.dataset: .*\.png .*Resize'
    ) as error:
        try_training(runner(**{name: {row: (9, 8)}}))
    assert f'{row}.png' in str(error.value)


def test_resized_images_pass(runner):
    pipeline = [LOAD[0], dict(type='Resize', scale=(8, 8)), LOAD[1]]
    try_training(runner({0: (9, 8)}, {5: (9, 8)}, pipeline))


@pytest.mark.parametrize('collate', ['default_collate', 'pseudo_collate'])
def test_several_views_of_an_image_are_refused(runner, collate):
    views = dict(type='MultiView', num_views=2, transforms=[[dict(type='RandomFlip', prob=0.5)]])
    runner = runner(pipeline=[LOAD[0], views, LOAD[1]])
    runner.train_dataloader.collate_fn = FUNCTIONS.get(collate)
    with pytest.raises(ConfigError, match=r'^train_dataloader\.dataset.* 2 views .*MultiView'):
        try_training(runner)


class FirstView(ClsDataPreprocessor):
    """Knows what to do with several views."""

    def forward(self, data, training=False):
        return super().forward(dict(data, inputs=data['inputs'][0]), training)


def test_several_views_of_an_image_may_be_what_a_model_takes(runner):
    views = dict(type='MultiView', num_views=2, transforms=[[dict(type='RandomFlip', prob=0.5)]])
    runner = runner(pipeline=[LOAD[0], views, LOAD[1]])
    runner.model.data_preprocessor.__class__ = FirstView
    try_training(runner)


def test_alone_in_its_batch_an_image_may_have_any_size(runner):
    try_training(runner({}, {5: (16, 8)}, batch_size=1))


def test_a_validation_without_labels_is_refused(runner):
    with pytest.raises(ConfigError, match=r'^val_(dataloader|evaluator).*label'):
        try_training(runner(without_label=True))


@pytest.mark.parametrize('split', ['test', 'train'])
def test_a_validation_of_training_images_is_noticed(
    make_runner, resnet_config, run_settings, capfd, split
):
    config = run_settings('unused', {})
    config['val_dataloader']['dataset']['split'] = split
    keys = [key for key in config if key.startswith(('val_', 'test_'))]
    try_training(make_runner(resnet_config(), epochs=1, **{key: config[key] for key in keys}))
    said = capfd.readouterr()
    assert ('images of the training too' in said.out + said.err) == (split == 'train')


@pytest.mark.parametrize('row', [0, 5])
def test_an_image_that_cannot_be_read_is_named(runner, tmp_path, row):
    started = runner()
    for file in (tmp_path / 'val').rglob(f'{row}.png'):
        file.write_bytes(b'no image')
    with pytest.raises(ConfigError, match=rf'cannot read .*{row}\.png'):
        try_training(started)


def test_distillation_needs_no_labels(make_runner, make_teacher, resnet_config, tmp_path):
    for i in range(6):
        mmcv.imwrite(np.full((8, 8), 40 * i, np.uint8), str(tmp_path / 'images' / f'{i}.png'))
    images = dict(
        type='CustomDataset', data_prefix=str(tmp_path / 'images'), with_label=False, pipeline=LOAD
    )

    def started(weight):
        model = resnet_config() | dict(
            type='mmbss.Distiller',
            teacher=make_teacher(),
            losses=dict(loss_kd=dict(type='mmbss.KDLoss')),
        )
        model['head']['loss'] = dict(type='CrossEntropyLoss', loss_weight=weight)
        runner = make_runner(model, epochs=1)
        runner._train_dataloader['dataset'] = images
        return runner

    try_training(started(0.0))
    with pytest.raises(ConfigError, match=r'have no labels.*loss_weight=0'):
        try_training(started(1.0))


def test_a_plain_training_without_labels_is_refused(make_runner, resnet_config, tmp_path):
    mmcv.imwrite(np.zeros((8, 8), np.uint8), str(tmp_path / 'images' / '0.png'))
    runner = make_runner(resnet_config(), epochs=1)
    runner._train_dataloader['dataset'] = dict(
        type='CustomDataset', data_prefix=str(tmp_path / 'images'), with_label=False, pipeline=LOAD
    )
    with pytest.raises(ConfigError, match=r'train_dataloader\.dataset, whose images have no label'):
        try_training(runner)
