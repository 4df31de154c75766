"""A whole step of distillation is finite and leaves the teacher alone."""

import copy
from contextlib import contextmanager
from dataclasses import replace

import torch
from hypothesis import assume, given
from hypothesis import strategies as st
from mmengine.optim import OptimWrapper
from mmengine.registry import DefaultScope
from mmpretrain.structures import DataSample
from strategies import (
    ATTACKS,
    LOSSES,
    PARTNER_ATTACKS,
    RECIPES,
    SEEDS,
    images,
    labels,
    networks,
    normalisations,
)

from mmbss.acceleration.accelerate import PRECISIONS
from mmbss.boundary.boundary_loss import BATCH_NORM
from mmbss.boundary.sampling import (
    BASE_CLASSES,
    BASE_SAMPLES,
    CANDIDATES,
    TARGET_CLASSES,
)
from mmbss.boundary.search_checks import TRAIN_ON
from mmbss.engine.cpu_amp_optim_wrapper import CPUAmpOptimWrapper
from mmbss.registry import MODELS

# 16 bits hold neither logits of 1e8 nor of 1e-22
HALF_RECIPES = tuple(recipe for recipe in RECIPES if recipe not in ('absurd', 'faint'))


class Float16Wrapper(OptimWrapper):
    """float16 autocast, which mmengine leaves to GPUs; without a loss scale."""

    @contextmanager
    def optim_context(self, model):
        with super().optim_context(model), torch.autocast('cpu', torch.float16):
            yield


WRAPPERS = dict(float32=OptimWrapper, bfloat16=CPUAmpOptimWrapper, float16=Float16Wrapper)


class Step:
    """What a step needs; in messages, what that was made of."""

    def __init__(self, made_of, distiller, batch, wrapper):
        self.made_of = made_of
        self.is_float16 = 'float16' in (
            made_of['amp'],
            made_of['teacher']['acceleration']['precision'],
        )
        self.distiller = distiller
        self.batch = batch
        self.wrapper = wrapper

    def __repr__(self):
        return str(self.made_of)


@st.composite
def steps(draw, tmp_path):
    amp = draw(st.sampled_from(sorted(WRAPPERS)))
    precision = draw(st.sampled_from(sorted(PRECISIONS)))
    recipes = RECIPES if (amp, precision) == ('float32', 'float32') else HALF_RECIPES
    student = draw(networks(recipes))
    others = networks(recipes, st.just(student.num_classes), st.just(student.channels))
    teacher = draw(st.just(student) | others)
    if draw(st.booleans()):
        student = replace(student, favoured=teacher.favoured)
    pixels = draw(images(student.channels))
    own, others = draw(normalisations(student.channels)), draw(normalisations(student.channels))
    config = teacher.config(data_preprocessor=draw(st.sampled_from([own, others])))
    path = tmp_path / 'teacher.pth'
    torch.save(teacher.build().state_dict(), path)
    # all targets of all samples of a thousand classes take long
    target_classes = TARGET_CLASSES if student.num_classes <= 10 else TARGET_CLASSES[:-1]
    boundary = dict(
        type='mmbss.BoundaryLoss',
        attack=draw(ATTACKS),
        loss=draw(LOSSES),
        base_class=draw(st.sampled_from(BASE_CLASSES)),
        candidates=draw(st.sampled_from(CANDIDATES)),
        num_base_samples=draw(st.integers(2, 6)),
        target_class=draw(st.sampled_from(target_classes)),
        train_on=draw(st.sampled_from(TRAIN_ON[::-1])),
    )
    if draw(st.integers(0, 3)) == 0:
        boundary |= dict(attack=draw(PARTNER_ATTACKS))
        del boundary['target_class']
    if boundary['candidates'] == 'both_correct':
        boundary['base_samples'] = draw(st.sampled_from(BASE_SAMPLES))
    else:
        boundary['base_samples'] = draw(st.sampled_from(['random', 'all']))
        kinds = BATCH_NORM if student.backbone == 'resnet' else ('own', 'joint')
        boundary['batch_norm'] = draw(st.sampled_from(kinds))
    model = student.config(
        data_preprocessor=dict(type='ClsDataPreprocessor', **own),
        teacher=dict(
            config=config,
            checkpoint=str(path),
            acceleration=dict(precision=precision, channels_last=draw(st.booleans())),
            reverse_channels=draw(st.booleans()),
        ),
        losses=dict(loss_kd=draw(LOSSES), loss_bss=boundary),
        acceleration=dict(channels_last=draw(st.booleans())),
    )
    with DefaultScope.overwrite_default_scope('mmpretrain'):
        distiller = MODELS.build(dict(model, type='mmbss.Distiller')).train()
    distiller.stores_term_weights = True  # as BSSHook says it
    student.set_weights(distiller)
    inputs = distiller.data_preprocessor(dict(inputs=pixels))['inputs']
    optimizer = torch.optim.SGD(distiller.parameters(), lr=1e-3, momentum=0.9)
    wrapper = WRAPPERS[amp](optimizer)
    with torch.no_grad(), wrapper.optim_context(distiller):
        try:
            answers = distiller.teacher(inputs)
        except ValueError:  # refused: it answers differently in 16 bits
            assume(amp == precision == 'float32')
            raise
        # in float16 some of these networks overflow: they have no logits to distil
        assume(answers.isfinite().all() and copy.deepcopy(distiller)(inputs).isfinite().all())
    classes = answers.argmax(dim=1)
    if draw(st.integers(0, 3)) == 0:
        classes = draw(labels(len(pixels), student.num_classes))
    samples = [DataSample().set_gt_label(int(label)) for label in classes]
    torch.manual_seed(draw(SEEDS))
    return Step(
        dict(amp=amp, student=student, taught_by=teacher, labels=classes.tolist(), **model),
        distiller,
        dict(inputs=pixels, data_samples=samples),
        wrapper,
    )


def test_a_step_is_finite_and_leaves_the_teacher_alone(tmp_path):
    statistics = dict(steps=0, attacked=0, boundary=0)

    @given(st.data())
    def try_one(data):
        step = data.draw(steps(tmp_path))
        distiller = step.distiller
        results = []
        attack = distiller.terms['loss_bss'].attack
        run = attack.run

        def spied(*args, **further):
            results.append((run(*args, **further), args[-1]))
            return results[-1][0]

        attack.run = spied
        answers = []
        distiller.head.fc.register_forward_hook(lambda *args: answers.append(args[-1].detach()))
        teacher = distiller.teacher
        before = copy.deepcopy(teacher.state_dict())
        values = distiller.train_step(step.batch, step.wrapper)
        # nor has one whose logits float16 cannot hold where the attack has led
        logits = [*answers, *(result.logits for result, _ in results)]
        assume(not step.is_float16 or all(each.isfinite().all() for each in logits))
        assert all(value.isfinite() for value in values.values()), values
        if step.made_of['amp'] == 'float16':
            # a loss scale, which only GPUs have, would skip a step whose gradients overflow
            assume(all(p.isfinite().all() for p in distiller.parameters()))
        for name, parameter in distiller.named_parameters():
            assert parameter.isfinite().all(), name
            assert parameter.grad is None or parameter.grad.isfinite().all(), name
        assert all(buffer.isfinite().all() for buffer in distiller.buffers())
        for result, (lowest, highest) in results:
            assert result.samples.isfinite().all()
            assert (result.samples >= lowest).all()
            assert (result.samples <= highest).all()
        after = teacher.state_dict()
        assert before.keys() == after.keys()
        assert all(torch.equal(before[key], value) for key, value in after.items())
        assert not any(module.training for module in teacher.modules())
        assert all(p.grad is None and not p.requires_grad for p in teacher.parameters())
        statistics['steps'] += 1
        statistics['attacked'] += bool(results)
        statistics['boundary'] += bool(values['loss_bss'] > 0)

    try_one()
    print(statistics)
    # the examples reach what they are for
    assert statistics['attacked'] > statistics['steps'] / 5
    assert statistics['boundary'] > statistics['steps'] / 20
