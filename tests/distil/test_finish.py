import pytest

from mmbss.distil.finish import choose_student
from mmbss.distil.running import Outcome
from mmbss.engine.errors import ConfigError


def test_without_the_labels_alone_there_is_nothing_to_compare_with():
    outcome = Outcome(finished=['kd-t4-w0.9'], failed={'labels': 'loss is NaN'})
    with pytest.raises(ConfigError, match='labels: loss is NaN'):
        choose_student([], outcome, {})
