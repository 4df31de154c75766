import subprocess
import sys

HEAVY = (
    'cv2',
    'matplotlib',
    'mmcv',
    'mmengine.hooks',
    'mmengine.model',
    'mmengine.runner',
    'mmpretrain',
    'pandas',
    'scipy',
    'sklearn',
    'torchvision',
)


def test_attacks_need_torch_and_the_registry_alone():
    code = (
        'import sys, torch\n'
        'from mmbss.attacks import BSSAttack, RandomNoiseAttack\n'
        'attacked = torch.tensor([[2.0, 1.0]]), torch.tensor([0]), torch.tensor([1])\n'
        'assert BSSAttack(step_size=1.0)(torch.clone, *attacked).success.all()\n'
        # built by the registry
        'RandomNoiseAttack(dict(type="BSSAttack"))(torch.clone, *attacked)\n'
        f'print([name for name in {HEAVY} if name in sys.modules])\n'
    )
    run = subprocess.run([sys.executable, '-c', code], capture_output=True, text=True, check=True)
    assert run.stdout.strip() == '[]'
