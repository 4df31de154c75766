"""Where in a config lies what is built from which registry."""

from collections.abc import Collection, Iterator
from dataclasses import dataclass
from typing import Any

from mmengine.config import Config
from mmengine.registry import FUNCTIONS, Registry
from mmengine.runner import Runner

from mmbss import registry
from mmbss.engine.build import find_arguments

LOADERS = ('train_dataloader', 'val_dataloader', 'test_dataloader')

#: Names at the top of a config that somebody reads.
TOP_LEVEL = (
    *find_arguments(Runner).known,
    'activation_checkpointing',
    'compile',
    'custom_imports',
    'efficient_conv_bn_eval',
    'model_wrapper_cfg',
    'runner_type',
    'sync_bn',
)


#: Keys of those parts of a config that are built from no registry.
SECTIONS = dict(
    randomness=find_arguments(Runner.set_randomness).known.keys() - {'self'},
    auto_scale_lr=('base_batch_size', 'enable'),
    env_cfg=('cudnn_benchmark', 'dist_cfg', 'mp_cfg', 'resource_limit'),
)


@dataclass(frozen=True)
class Place:
    """What a config holds under a key: one entry with a ``type``, or a list of such.

    Attributes:
        registry: Where the type is looked up.
        default: Type of an entry that names none; None where it has to name one.
        supplied: Arguments that mmengine adds.
        popped: Keys that mmengine reads itself.
        is_group: Whether entries may also lie a level deeper, by name.
    """

    registry: Registry
    default: str | None = None
    supplied: Collection[str] = ()
    popped: Collection[str] = ()
    is_group: bool = False


MODEL = Place(registry.MODELS)
# what kind it is without a type depends on the model
PREPROCESSOR = Place(registry.MODELS)
METRICS = Place(registry.METRICS)
HOOKS = Place(registry.HOOKS, popped=('priority',), is_group=True)
LOOPS = Place(registry.LOOPS, supplied=('runner', 'dataloader', 'evaluator'))

#: By key at the top of a config.
TOP_PLACES = dict(
    model=MODEL,
    data_preprocessor=PREPROCESSOR,
    val_evaluator=METRICS,
    test_evaluator=METRICS,
    optim_wrapper=Place(
        registry.OPTIM_WRAPPERS, 'OptimWrapper', popped=('constructor', 'paramwise_cfg')
    ),
    param_scheduler=Place(
        registry.PARAM_SCHEDULERS,
        supplied=('optimizer',),
        popped=('convert_to_iter_based', 'epoch_length'),
        is_group=True,
    ),
    default_hooks=HOOKS,
    custom_hooks=HOOKS,
    train_cfg=LOOPS,
    val_cfg=Place(registry.LOOPS, 'ValLoop', LOOPS.supplied),
    test_cfg=Place(registry.LOOPS, 'TestLoop', LOOPS.supplied),
    visualizer=Place(registry.VISUALIZERS, 'Visualizer', popped=('name',)),
    log_processor=Place(registry.LOG_PROCESSORS, 'LogProcessor'),
)

#: By key anywhere else.
NESTED_PLACES = dict(
    data_preprocessor=PREPROCESSOR,
    backbone=MODEL,
    neck=MODEL,
    head=MODEL,
    loss=MODEL,
    losses=Place(registry.MODELS, is_group=True),
    attack=Place(registry.ATTACKS),
    augments=Place(registry.BATCH_AUGMENTS),
    dataset=Place(registry.DATASETS),
    datasets=Place(registry.DATASETS),
    pipeline=Place(registry.TRANSFORMS),
    sampler=Place(registry.DATA_SAMPLERS, supplied=('dataset',)),
    batch_sampler=Place(registry.DATA_SAMPLERS, supplied=('sampler', 'batch_size')),
    collate_fn=Place(FUNCTIONS, supplied=('data_batch', 'batch')),
    optimizer=Place(registry.OPTIMIZERS, supplied=('params',)),
    metrics=METRICS,
    vis_backends=Place(registry.VISBACKENDS, supplied=('save_dir',)),
)


def find_entries(cfg: Config) -> Iterator[tuple[str, Place, Any]]:
    """Path, place and content of each entry that is built from a registry."""
    for name, value in cfg.items():
        if name in TOP_PLACES or name in LOADERS:
            yield from _entries_in(value, name, TOP_PLACES.get(name))


def _entries_in(value: Any, path: str, place: Place | None) -> Iterator[tuple[str, Place, Any]]:
    if isinstance(value, (list, tuple)):
        for index, item in enumerate(value):
            yield from _entries_in(item, f'{path}.{index}', place)
        return
    is_group = (
        isinstance(value, dict)
        and place is not None
        and place.is_group
        and 'type' not in value
        and not any(isinstance(item, (str, int, float)) for item in value.values())
    )
    if place is not None and value is not None and not is_group:
        yield path, place, value
    if isinstance(value, dict):
        for key, item in value.items():
            if key == 'paramwise_cfg':  # its keys are names of modules
                continue
            within = place if is_group else NESTED_PLACES.get(key)
            yield from _entries_in(item, f'{path}.{key}', within)


def entries_of(cfg: Config, name: str) -> Iterator[tuple[str, dict[str, Any]]]:
    """Path and config of what lies under a name at the top: one entry with a type, or a list."""
    given = cfg.get(name) or []
    found = {name: given}
    if not isinstance(given, dict):
        found = {f'{name}.{index}': each for index, each in enumerate(given)}
    for path, each in found.items():
        if isinstance(each, dict) and 'type' in each:
            yield path, each
