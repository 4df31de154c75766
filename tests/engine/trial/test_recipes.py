"""What a training switches to later is tried before it begins."""

import pytest
from mmpretrain.engine.hooks import SwitchRecipeHook

from mmbss.engine.errors import ConfigError
from mmbss.engine.trial.training import try_training

PACK = dict(type='PackInputs')
MIXUP = dict(augments=dict(type='Mixup', alpha=0.8))
SMOOTH = dict(type='LabelSmoothLoss', label_smooth_val=0.1, num_classes=10)


@pytest.fixture
def switching(make_runner, resnet_config, bss_settings):
    """A runner whose recipes are switched to at the second epoch, and so on."""

    def make(*recipes, distils=False):
        schedule = [dict(recipe, action_epoch=epoch) for epoch, recipe in enumerate(recipes, 2)]
        hook = dict(type='SwitchRecipeHook', schedule=schedule)
        model = bss_settings('unused')['model'] if distils else resnet_config()
        return make_runner(model, custom_hooks=[hook], epochs=1)

    return make


@pytest.mark.parametrize(
    ('recipe', 'message'),
    [
        (dict(loss=dict(SMOOTH, num_classes=12)), 'num_classes: 12'),
        (dict(train_pipeline=[PACK, PACK]), r'train_dataloader\.dataset'),
    ],
)
def test_a_recipe_that_does_not_fit_is_refused_with_its_epoch(switching, recipe, message):
    with pytest.raises(ConfigError, match=f'SwitchRecipeHook, from epoch 3 on: .*{message}'):
        try_training(switching(dict(loss=SMOOTH), recipe))


class OwnHook(SwitchRecipeHook):
    """Switches the data in a way of its own."""

    def _switch_train_pipeline(self, runner, train_pipeline):
        runner.train_dataloader.dataset.pipeline = lambda info: info


def test_a_hook_of_somebody_s_own_is_followed(switching):
    runner = switching()
    runner.register_hook(OwnHook([dict(action_epoch=4, train_pipeline=[PACK])]))
    with pytest.raises(ConfigError, match=r'from epoch 4 on: .*no inputs to the model'):
        try_training(runner)


def test_mixing_that_begins_later_is_refused_where_labels_must_be_hard(switching):
    with pytest.raises(ConfigError, match=r'from epoch 2 on: .*one hard label'):
        try_training(switching(dict(batch_augments=MIXUP), distils=True))


def test_the_training_begins_as_if_nothing_had_been_switched(switching):
    recipe = dict(batch_augments=MIXUP, loss=SMOOTH, train_pipeline=[PACK])
    runner = switching(recipe, dict(batch_augments=None))
    model, dataset = runner.model, runner.train_dataloader.dataset
    before = model.head.loss_module, dataset.pipeline
    try_training(runner)
    assert model.head.loss_module is before[0]
    assert dataset.pipeline is before[1]
    assert model.data_preprocessor.batch_augments is None
