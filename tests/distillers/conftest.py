import pytest


@pytest.fixture
def small_colour(resnet_config):
    return resnet_config(in_channels=3)
