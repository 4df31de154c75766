"""How many examples Hypothesis makes: a few by default, HYPOTHESIS_PROFILE=thorough for many.

Both are derandomised, so that every run makes the same.
"""

import os

from hypothesis import HealthCheck, Phase, settings

COMMON = dict(
    derandomize=True,
    deadline=None,
    database=None,
    # to make a failing example smaller takes minutes
    phases=[Phase.explicit, Phase.generate],
    # the fixtures are folders and builders, which examples do not change
    suppress_health_check=list(HealthCheck),
)
settings.register_profile('quick', max_examples=100, **COMMON)
settings.register_profile('thorough', max_examples=10_000, **COMMON)
settings.load_profile(os.environ.get('HYPOTHESIS_PROFILE', 'quick'))
