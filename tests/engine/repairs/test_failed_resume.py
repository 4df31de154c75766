"""What is no state of a training is refused: tests/engine/files/test_untrusted_files.py."""

from types import SimpleNamespace

import pytest

from mmbss.engine.repairs import failed_resume


def test_a_bug_in_a_hook_keeps_its_error():
    def resume(self, filename):
        raise KeyError('a bug here, not in a library')

    module = SimpleNamespace(Runner=type('Runner', (), dict(resume=resume, load_checkpoint=print)))
    failed_resume.repair(module)
    with pytest.raises(KeyError, match='a bug here'):
        module.Runner().resume('epoch_1.pth')
