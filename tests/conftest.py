"""Small real things to test with: models, checkpoints, batches, configs and runs on the digits."""

import gc
import importlib.util
import multiprocessing
import os
import runpy
import ssl
import subprocess
import sys
import threading
import traceback
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
import pytest
import torch
from mmengine.config import Config
from mmengine.registry import DefaultScope
from mmengine.runner import Runner
from mmengine.utils import ManagerMixin, manager
from mmpretrain.structures import DataSample
from torch import nn

import mmbss
from mmbss.registry import MODELS

torch.set_num_threads(1)


def settle_fork():
    """Have a fork of a test process neither trip over nor wait for what its parent left."""
    # A DataLoader that belongs to the parent complains when it is collected, and Python 3.11, which
    # parses code to show the complaint, fails if it was parsing already.
    gc.freeze()
    # The parent's OpenMP threads are not there, but whoever wants more than one waits for them.
    torch.set_num_threads = lambda count: None
    # Another thread may have held it.
    manager._lock = threading.RLock()


os.register_at_fork(after_in_child=settle_fork)
# torch waits so long, 5 s, for each worker of a loader that the garbage collector has found
torch.utils.data._utils.MP_STATUS_CHECK_INTERVAL = 0.5

ROOT = Path(mmbss.__file__).resolve().parents[1]
DIGITS_MEAN, DIGITS_STD = [77.9], [95.9]


#: Fixtures that start a process: the tests that ask for one, directly or not, are marked slow.
STARTING = {'fork', 'forked', 'in_two_processes', 'python'}


# before pytest leaves out what -m says
@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items):
    """Begin with whole runs: of two processes, none is to have a long one left at the end."""
    for item in items:
        if STARTING & {*getattr(item, 'fixturenames', ())}:
            item.add_marker('slow')
    items.sort(key=lambda item: item.path.parent.name not in ('tools', 'benchmarks'))


@pytest.fixture(scope='session', autouse=True)
def separate_runs():
    """Keep runs of one process apart: mmengine knows them by name and second, tests are faster."""
    set_up = Runner.setup_env

    def set_up_anew(*args, **kwargs):
        for kind in {*subclasses(ManagerMixin)} - {DefaultScope}:
            kind._instance_dict.clear()
        set_up(*args, **kwargs)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Runner, 'setup_env', set_up_anew)
        yield


def subclasses(kind):
    return [each for child in kind.__subclasses__() for each in (child, *subclasses(child))]


@pytest.fixture(scope='session', autouse=True)
def unformatted_configs():
    """Spare the runs the layout of their configs, which takes longer than a short training."""
    with pytest.MonkeyPatch.context() as patch:
        # mmengine imports it at the top, onedl-mmengine where it is called
        for module in ('mmengine.config.config', 'yapf.yapflib.yapf_api'):
            patch.setattr(
                f'{module}.FormatCode', lambda text, **style: (text, False), raising=False
            )
        yield


def fix_seed():
    torch.manual_seed(0)
    np.random.seed(0)


@pytest.hookimpl(tryfirst=True)
def pytest_fixture_setup(fixturedef):
    """What several tests share must not depend on which of them asks first."""
    if fixturedef.scope != 'function':
        fix_seed()


@pytest.fixture(autouse=True)
def fixed_seed():
    fix_seed()


@pytest.fixture(scope='session')
def root():
    """Folder of the repository."""
    return ROOT


def small_resnet(depth=8, width=2, in_channels=1, num_classes=10, **model):
    return dict(
        type='ImageClassifier',
        backbone=dict(
            type='mmbss.CIFARResNet', depth=depth, base_channels=width, in_channels=in_channels
        ),
        neck=dict(type='GlobalAveragePooling'),
        head=dict(type='LinearClsHead', num_classes=num_classes, in_channels=4 * width),
        **model,
    )


@pytest.fixture(scope='session')
def resnet_config():
    """Make the config of a tiny CIFAR ResNet."""
    return small_resnet


def build(config):
    with DefaultScope.overwrite_default_scope('mmpretrain'):
        model = MODELS.build(Config(dict(model=config)).model)
    model.init_weights()
    return model


@pytest.fixture(scope='session')
def build_model():
    """Build a classifier, or a distiller, with fresh weights."""
    return build


def favour(model, category=0, lead=3.0):
    """Make an untrained classifier say one class to nearly everything."""
    linears = [module for module in model.head.modules() if isinstance(module, nn.Linear)]
    with torch.no_grad():
        for linear in linears:
            linear.bias[category] += lead
    return model


@pytest.fixture(scope='session')
def favour_class():
    return favour


@pytest.fixture
def make_teacher(tmp_path):
    """Write the checkpoint of an untrained teacher; gives the distiller's ``teacher`` argument."""

    def make(config=None, favoured=None, **teacher):
        config = config or small_resnet()
        model = build(config)
        for module in model.modules():
            if isinstance(module, nn.BatchNorm2d):  # statistics that differ from a fresh layer's
                module.running_mean.uniform_(-0.1, 0.1)
                module.running_var.uniform_(0.8, 1.2)
        if favoured is not None:
            favour(model, favoured)
        path = tmp_path / f'teacher_{len(list(tmp_path.glob("teacher_*")))}.pth'
        torch.save(dict(state_dict=model.state_dict()), path)
        return dict(config=config, checkpoint=str(path), **teacher)

    return make


def boundary_term(**changes):
    settings = dict(
        type='mmbss.BoundaryLoss',
        attack=dict(type='mmbss.BSSAttack', num_steps=4, step_size=0.5),
        num_base_samples=8,
        loss=dict(type='mmbss.KDLoss', temperature=3.0),
    )
    return dict(settings, **changes)


@pytest.fixture(scope='session')
def boundary_config():
    """Make the config of a ``BoundaryLoss``."""
    return boundary_term


@pytest.fixture
def make_distiller(make_teacher):
    """Build a distiller of two tiny ResNets.

    Its boundary is the term ``loss_bss``; where a type is given, there is none by default.
    """

    def make(student=None, teacher=None, type=None, favoured=None, boundary=None, **changes):
        config = dict(
            student or small_resnet(),
            type=type or 'mmbss.Distiller',
            teacher=teacher or make_teacher(favoured=favoured),
            losses=dict(loss_kd=dict(type='mmbss.KDLoss', temperature=3.0, loss_weight=4.0)),
        )
        config.update(changes)
        if boundary is None and type is None:
            boundary = boundary_term(loss_weight=2.0)
        if boundary is not None:
            term = dict(type='mmbss.BoundaryLoss') | boundary
            config['losses'] = dict(config['losses'] or {}, loss_bss=term)
        model = build(config)
        if favoured is not None:
            favour(model, favoured)
        return model.train()

    return make


@pytest.fixture(scope='session')
def make_batch():
    """Make normalised random inputs and their data samples."""

    def make(labels, channels=1, size=8):
        inputs = torch.randn(len(labels), channels, size, size)
        return inputs, [DataSample().set_gt_label(int(label)) for label in labels]

    return make


def settings(folder, model, epochs=2, **changes):
    """Config of a short run on a few digits, every epoch of which is kept."""
    config = dict(
        default_scope='mmpretrain',
        custom_imports=dict(imports=['mmbss']),
        model=model,
        data_preprocessor=dict(
            type='mmbss.AugmentingDataPreprocessor',
            num_classes=10,
            mean=DIGITS_MEAN,
            std=DIGITS_STD,
        ),
        train_dataloader=dict(
            batch_size=32,
            num_workers=0,
            dataset=dict(type='mmbss.Digits', split='train', indices=192),
            sampler=dict(type='DefaultSampler', shuffle=True),
            collate_fn=dict(type='default_collate'),
        ),
        val_dataloader=dict(
            batch_size=270,
            num_workers=0,
            dataset=dict(type='mmbss.Digits', split='test', test_mode=True),
            sampler=dict(type='DefaultSampler', shuffle=False),
            collate_fn=dict(type='default_collate'),
        ),
        val_evaluator=dict(type='Accuracy', topk=(1,)),
        test_evaluator=dict(type='Accuracy', topk=(1,)),
        optim_wrapper=dict(
            type='OptimWrapper', optimizer=dict(type='SGD', lr=0.05, momentum=0.9, nesterov=True)
        ),
        param_scheduler=dict(type='MultiStepLR', by_epoch=True, milestones=[2, 3], gamma=0.5),
        auto_scale_lr=dict(base_batch_size=32),
        train_cfg=dict(by_epoch=True, max_epochs=epochs),
        val_cfg=dict(),
        test_cfg=dict(),
        default_hooks=dict(
            logger=dict(type='LoggerHook', interval=2),
            visualization=dict(type='VisualizationHook', enable=False),
            checkpoint=dict(type='CheckpointHook', interval=1, max_keep_ckpts=-1, save_best='auto'),
        ),
        visualizer=dict(type='UniversalVisualizer', vis_backends=[dict(type='LocalVisBackend')]),
        randomness=dict(seed=0),
        work_dir=str(folder),
        launcher='none',
    )
    config.update(changes)
    config['test_dataloader'] = config['val_dataloader']
    return config


@pytest.fixture(scope='session')
def run_settings():
    """Make the config of a short run on the digits."""
    return settings


@pytest.fixture
def make_runner(tmp_path):
    """Build the runner of a short run on the digits, quiet and without validation."""
    count = 0

    def make(model, **changes):
        nonlocal count
        count += 1
        without = dict(
            val_dataloader=None,
            val_evaluator=None,
            val_cfg=None,
            test_evaluator=None,
            test_cfg=None,
        )
        folder = changes.pop('work_dir', tmp_path / f'run_{count}')
        config = settings(folder, model, **{**without, **changes})
        config['experiment_name'] = f'{tmp_path.name}_{count}'
        return Runner.from_cfg(Config(config))

    return make


@pytest.fixture(scope='session')
def digits_teacher(tmp_path_factory):
    """A ResNet8 trained on the digits by the runner; arguments of a distiller's ``teacher``."""
    folder = tmp_path_factory.mktemp('teacher')
    model = small_resnet(width=8)
    config = Config(settings(folder, model, epochs=4))
    config.train_dataloader.dataset.pop('indices')
    config.default_hooks.checkpoint.interval = 4
    runner = Runner.from_cfg(config)
    runner.train()
    assert runner.message_hub.get_scalar('val/accuracy/top1').current() > 80
    path = folder / 'teacher.py'
    config.dump(str(path))
    return dict(config=str(path), checkpoint=str(folder / 'epoch_4.pth'))


@pytest.fixture(scope='session')
def digits_student(digits_teacher, tmp_path_factory):
    """Checkpoint of the digits' teacher with disturbed weights, which is right on most digits."""
    state = torch.load(digits_teacher['checkpoint'])['state_dict']
    generator = torch.Generator().manual_seed(1)
    for name, value in state.items():
        if name.endswith('conv1.weight'):
            noise = torch.randn(value.shape, generator=generator)
            state[name] = value + 0.6 * value.std() * noise
    path = tmp_path_factory.mktemp('student') / 'student.pth'
    torch.save(dict(state_dict=state), path)
    return path


@pytest.fixture(scope='session')
def digits_batch():
    """64 normalised test digits with their data samples."""
    dataset = mmbss.datasets.Digits('test')
    rows = [dataset[row] for row in range(64)]
    inputs = torch.stack([row['inputs'] for row in rows]).float()
    return (inputs - DIGITS_MEAN[0]) / DIGITS_STD[0], [row['data_samples'] for row in rows]


@pytest.fixture(scope='session')
def write_config():
    """Write a config file."""

    def write(path, config):
        Config(config).dump(str(path))
        return path

    return write


@pytest.fixture(scope='session')
def bss_settings(digits_teacher):
    """Config of four epochs of BSS on a few digits, without randomness but that of the attack.

    The attack ends after half of the epochs.
    """

    def make(folder, epochs=4, **changes):
        model = small_resnet(
            teacher=digits_teacher,
            losses=dict(
                loss_kd=dict(type='mmbss.KDLoss', temperature=3.0), loss_bss=boundary_term()
            ),
        )
        model['type'] = 'mmbss.Distiller'
        schedules = dict(
            loss_kd=dict(start=4.0, end=1.0), loss_bss=dict(start=2.0, end=0.0, until=0.5)
        )
        changes.setdefault('custom_hooks', [dict(type='mmbss.BSSHook', schedules=schedules)])
        return settings(folder, model, epochs=epochs, **changes)

    return make


def connected(function, rank, rendezvous, *args):
    """Call a function as one of two processes; what it raises is written beside the rendezvous."""
    os.chdir(rendezvous.parent)  # where mmengine collects what both have found
    os.environ['LOCAL_RANK'] = str(rank)
    try:
        torch.distributed.init_process_group(
            'gloo', init_method=f'file://{rendezvous}', rank=rank, world_size=2
        )
        function(rank, *args)
    except BaseException:
        rendezvous.with_name(f'error_{rank}').write_text(traceback.format_exc())
        raise


@pytest.fixture(scope='session')
def in_two_processes(tmp_path_factory):
    """Call a function with the rank and the given arguments in two processes, over gloo."""

    def call(function, *args):
        rendezvous = tmp_path_factory.mktemp('rendezvous') / 'file'
        # not a new interpreter, which would import everything once more
        context = multiprocessing.get_context('fork')
        processes = [
            context.Process(target=connected, args=(function, rank, rendezvous, *args))
            for rank in (0, 1)
        ]
        for process in processes:
            process.start()
        for process in processes:
            process.join(timeout=300)
        errors = [path.read_text() for path in sorted(rendezvous.parent.glob('error_*'))]
        ended = [process.exitcode for process in processes]
        assert ended == [0, 0], '\n'.join([f'exit codes {ended}', *errors])

    return call


def run_python(*command, check=True, environment=None, cwd=None):
    completed = subprocess.run(
        [sys.executable, *map(str, command)],
        capture_output=True,
        text=True,
        cwd=cwd,
        env=dict(os.environ, OMP_NUM_THREADS='1', **(environment or {})),
        check=False,
    )
    if check:
        assert completed.returncode == 0, completed.stdout[-2000:] + completed.stderr[-4000:]
    return completed


@pytest.fixture(scope='session')
def python():
    """Run Python with the given arguments in a process of its own."""
    return run_python


def become(program, args, output, before):
    """Run a program to its end in this process, with its output and its errors added to files."""
    for stream, path in enumerate(output, start=1):
        with Path(path).open('a') as file:
            os.dup2(file.fileno(), stream)
    sys.stdout, sys.stderr = (os.fdopen(stream, 'w', closefd=False) for stream in (1, 2))
    sys.argv = [str(program), *map(str, args)]
    sys.path.insert(0, str(program.parent))
    before()
    runpy.run_path(str(program), run_name='__main__')


class Fork:
    """A program in a fork of this process, which has imported everything already.

    Most tests of a whole program need no new interpreter, whose imports take longer than the rest.
    It is watched and ended as a ``subprocess.Popen`` is.
    """

    def __init__(self, program, *args, output, before=lambda: None):
        for path in output:
            Path(path).touch()
        self.process = multiprocessing.get_context('fork').Process(
            target=become, args=(Path(program), args, output, before)
        )
        self.process.start()
        self.pid = self.process.pid

    def poll(self):
        return self.process.exitcode

    def wait(self, timeout=None):
        self.process.join(timeout)
        return self.process.exitcode


@pytest.fixture(scope='session')
def fork():
    return Fork


@pytest.fixture(scope='session')
def forked(tmp_path_factory):
    """Run a program to its end in a fork of this process."""

    def run(program, *args, check=True, before=lambda: None):
        output = [tmp_path_factory.mktemp('output') / name for name in ('output', 'errors')]
        code = Fork(program, *args, output=output, before=before).wait()
        completed = subprocess.CompletedProcess(args, code, *(path.read_text() for path in output))
        if check:
            assert code == 0, completed.stdout[-2000:] + completed.stderr[-4000:]
        return completed

    return run


@pytest.fixture(scope='session')
def load_tool():
    """Import a tool as a module."""

    def load(name):
        spec = importlib.util.spec_from_file_location(f'{name}_tool', ROOT / 'tools' / f'{name}.py')
        module = importlib.util.module_from_spec(spec)
        sys.modules[spec.name] = module  # dataclasses look their module up
        spec.loader.exec_module(module)
        return module

    return load


@pytest.fixture
def call_tool(monkeypatch):
    """Run a tool as a program, in this process."""

    def call(name, *args):
        path = str(ROOT / 'tools' / f'{name}.py')
        monkeypatch.setattr(sys, 'argv', [path, *map(str, args)])
        runpy.run_path(path, run_name='__main__')

    return call


@pytest.fixture
def count_calls(monkeypatch):
    """Count the calls of an object's method."""

    def count(owner, name):
        calls = []
        original = getattr(owner, name)

        def counted(*args, **kwargs):
            calls.append(args)
            return original(*args, **kwargs)

        monkeypatch.setattr(owner, name, counted)
        return calls

    return count


@pytest.fixture
def student_of():
    """The plain classifier's config of a distiller's config."""

    def student(config):
        plain = {k: v for k, v in config.items() if k not in ('teacher', 'losses')}
        return dict(plain, type='ImageClassifier')

    return student


class Server(SimpleHTTPRequestHandler):
    """Serves a folder; /redirect/<URL> leads to another URL."""

    def log_message(self, *args):
        pass

    def do_GET(self):
        if not self.path.startswith('/redirect/'):
            return super().do_GET()
        self.send_response(302)
        self.send_header('Location', self.path.removeprefix('/redirect/'))
        self.end_headers()


@pytest.fixture
def serve(tmp_path, monkeypatch, root):
    """Serve tmp_path over HTTPS on the loopback interface, with a download cache of its own."""
    certificate = root / 'tests' / 'loopback.pem'
    monkeypatch.setenv('TORCH_HOME', str(tmp_path / 'cache'))
    monkeypatch.setenv('no_proxy', '127.0.0.1')
    monkeypatch.setenv('SSL_CERT_FILE', str(certificate))
    server = ThreadingHTTPServer(('127.0.0.1', 0), partial(Server, directory=tmp_path))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)
    server.socket = context.wrap_socket(server.socket, server_side=True)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f'https://127.0.0.1:{server.server_port}'
    server.shutdown()
    server.server_close()
