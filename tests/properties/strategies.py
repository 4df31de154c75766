"""What the properties are tried on: networks, images, logits and attacks at their extremes."""

from dataclasses import dataclass

import torch
from hypothesis import strategies as st
from mmengine.registry import DefaultScope
from torch import nn

from mmbss.registry import MODELS

SIZE = 8
CHANNELS = st.sampled_from([1, 3])
CLASSES = st.sampled_from([2, 3, 10, 100, 1000])
DTYPES = st.sampled_from([torch.float32, torch.bfloat16, torch.float16])
SEEDS = st.integers(0, 2**31)

# ---------------------------------------------------------------- networks

BACKBONES = dict(
    linear=(dict(type='mmbss.MLP', hidden=()), None),
    mlp=(dict(type='mmbss.MLP', hidden=(6,)), 6),
    conv=(
        dict(type='mmbss.ConvNet', image_size=SIZE, channels=(3,), hidden=(6,), dropout=0.0),
        6,
    ),
    resnet=(dict(type='mmbss.CIFARResNet', depth=8, base_channels=2), 8),
)
# what is done to the weights: logits and gradients of ordinary size, none, huge or tiny ones
RECIPES = ('random', 'zero', 'constant', 'saturated', 'absurd', 'faint', 'twins')


@dataclass(frozen=True)
class Network:
    """A classifier of images: its architecture and what its weights are like."""

    backbone: str
    recipe: str
    num_classes: int
    channels: int
    favoured: int | None
    seed: int

    def config(self, **model):
        """Config of a classifier."""
        backbone, width = BACKBONES[self.backbone]
        if backbone['type'] == 'mmbss.MLP':
            backbone = dict(backbone, in_features=self.channels * SIZE**2)
        else:
            backbone = dict(backbone, in_channels=self.channels)
        head = dict(
            type='LinearClsHead',
            num_classes=self.num_classes,
            in_channels=width or self.channels * SIZE**2,
        )
        neck = dict(type='GlobalAveragePooling') if self.backbone == 'resnet' else None
        return dict(type='ImageClassifier', backbone=backbone, neck=neck, head=head, **model)

    @torch.no_grad()
    def set_weights(self, model):
        """Give a model of this config its weights."""
        torch.manual_seed(self.seed)
        for parameter in model.parameters():
            if parameter.ndim > 1:
                nn.init.kaiming_normal_(parameter)
        head = model.head.fc
        head.bias.zero_()
        if self.recipe in ('zero', 'constant'):
            for parameter in model.parameters():
                parameter.zero_()
        if self.recipe == 'constant':
            head.bias.normal_(std=30)
        factor = dict(saturated=300.0, absurd=1e8, faint=1e-22).get(self.recipe)
        if factor is not None:
            head.weight.mul_(factor)
        if self.recipe == 'twins':
            head.weight[1::2] = head.weight[: self.num_classes // 2 * 2 : 2]
        if self.favoured is not None:
            head.bias[self.favoured] += 5 + 10 * head.weight.abs().sum(dim=1).max()
        return model

    def build(self):
        """The classifier, in eval mode."""
        with DefaultScope.overwrite_default_scope('mmpretrain'):
            return self.set_weights(MODELS.build(self.config())).eval()


@st.composite
def networks(draw, recipes=RECIPES, num_classes=CLASSES, channels=CHANNELS):
    count = draw(num_classes)
    return Network(
        backbone=draw(st.sampled_from(sorted(BACKBONES))),
        recipe=draw(st.sampled_from(recipes)),
        num_classes=count,
        channels=draw(channels),
        favoured=draw(st.none() | st.integers(0, count - 1)),
        seed=draw(SEEDS),
    )


# ---------------------------------------------------------------- images

PICTURES = ('noise', 'black', 'white', 'extreme', 'duplicates', 'constant', 'one_pixel')


@st.composite
def images(draw, channels, min_size=1, max_size=6):
    """(N, C, SIZE, SIZE) uint8."""
    count = draw(st.integers(min_size, max_size))
    kind = draw(st.sampled_from(PICTURES))
    generator = torch.Generator().manual_seed(draw(SEEDS))
    shape = (count, channels, SIZE, SIZE)
    noise = torch.randint(256, shape, dtype=torch.uint8, generator=generator)
    if kind == 'noise':
        return noise
    if kind == 'black':
        return torch.zeros_like(noise)
    if kind == 'white':
        return torch.full_like(noise, 255)
    if kind == 'extreme':
        return 255 * (noise > 127).to(torch.uint8)
    if kind == 'duplicates':
        return noise[:1].repeat(count, 1, 1, 1)
    if kind == 'constant':
        return noise[:, :, :1, :1].expand(shape).contiguous()
    pixel = torch.zeros_like(noise)
    pixel[..., 3, 4] = 255
    return pixel


@st.composite
def normalisations(draw, channels):
    """Mean and standard deviation of a data preprocessor."""
    mean = draw(st.lists(st.floats(0, 255), min_size=channels, max_size=channels))
    std = draw(
        st.lists(st.sampled_from([0.5, 1.0, 58.4, 255.0]), min_size=channels, max_size=channels)
    )
    return dict(mean=mean, std=std)


# ---------------------------------------------------------------- logits


@st.composite
def logits(draw, count, num_classes, dtype):
    """(N, K) of a kind that trained and untrained networks may put out."""
    kind = draw(
        st.sampled_from(
            ['random', 'equal', 'zero', 'saturated', 'certain', 'duplicates', 'ties', 'absurd']
        )
    )
    generator = torch.Generator().manual_seed(draw(SEEDS))
    values = torch.randn(count, num_classes, generator=generator)
    favoured = torch.randint(num_classes, (count, 1), generator=generator)
    if kind == 'equal':
        values = values[:, :1].expand(count, num_classes)
    elif kind == 'zero':
        values = torch.zeros_like(values)
    elif kind == 'saturated':
        values = 1e4 * values
    elif kind == 'certain':
        values = torch.zeros_like(values).scatter(1, favoured, 6e4)
    elif kind == 'duplicates':
        values = values[:1].repeat(count, 1)
    elif kind == 'ties':
        values = values.round()
    elif kind == 'absurd' and dtype != torch.float16:  # whose largest number is 65504
        values = 1e15 * values
    return values.to(dtype)


@st.composite
def labels(draw, count, num_classes):
    """(N,) int64, at times all of one class."""
    if draw(st.booleans()):
        return torch.full((count,), draw(st.integers(0, num_classes - 1)))
    generator = torch.Generator().manual_seed(draw(SEEDS))
    return torch.randint(num_classes, (count,), generator=generator)


@st.composite
def logit_batches(draw, min_size=0):
    """Logits of student and teacher, and labels; the student's often are the teacher's."""
    count, num_classes, dtype = draw(st.integers(min_size, 8)), draw(CLASSES), draw(DTYPES)
    teacher = draw(logits(count, num_classes, dtype))
    student = draw(st.just(teacher.clone()) | logits(count, num_classes, dtype))
    classes = draw(st.just(teacher.argmax(dim=1)) | labels(count, num_classes))
    return student, teacher, classes


# ---------------------------------------------------------------- attacks and losses

STEPS = dict(
    num_steps=st.integers(1, 4),
    step_size=st.sampled_from([1e-3, 0.3, 1.0, 1.3, 100.0]),
    overshoot=st.sampled_from([1e-4, 0.015, 3.0]),
    third_class=st.sampled_from(['reject', 'accept']),
)
BSS = st.one_of(
    st.builds(dict, type=st.sampled_from(['mmbss.BSSAttack', 'mmbss.NewtonAttack']), **STEPS),
    st.builds(
        dict, type=st.just('mmbss.ClosestAttack'), **STEPS, num_refinements=st.integers(1, 4)
    ),
)
RADII = st.sampled_from([0.1, 8.0, 255.0, 1000.0])
PARTNER_ATTACKS = st.one_of(
    st.builds(
        dict,
        type=st.just('mmbss.SegmentAttack'),
        num_passes=st.integers(1, 3),
        spread=st.sampled_from([0.0, 0.2]),
    ),
    st.just(dict(type='mmbss.RandomMixAttack')),
    st.builds(
        dict,
        type=st.just('mmbss.ChosenMixAttack'),
        by=st.sampled_from(['entropy', 'disagreement']),
        num_passes=st.integers(1, 2),
    ),
)
ATTACKS = st.one_of(
    BSS,
    BSS.map(lambda attack: dict(type='mmbss.RandomNoiseAttack', attack=attack)),
    st.builds(dict, type=st.just('mmbss.FGSMAttack'), radius=RADII, targeted=st.booleans()),
    st.builds(
        dict,
        type=st.just('mmbss.PGDAttack'),
        radius=RADII,
        num_steps=st.integers(1, 3),
        random_start=st.booleans(),
        targeted=st.booleans(),
    ),
    st.builds(
        dict,
        type=st.just('mmbss.JSMAAttack'),
        theta=st.sampled_from([1.0, -1.0, 0.1]),
        gamma=st.sampled_from([0.05, 0.1]),  # of 64 values, or more, one pair and more
        output=st.sampled_from(['logits', 'softmax']),
    ),
)
TEMPERATURES = st.sampled_from([0.5, 1.0, 4.0, 20.0])
LOSSES = st.one_of(
    st.builds(
        dict,
        type=st.just('mmbss.KDLoss'),
        temperature=TEMPERATURES,
        scale_by_t2=st.booleans(),
        standardise_logits=st.booleans(),
    ),
    st.builds(
        dict,
        type=st.just('mmbss.DKDLoss'),
        temperature=TEMPERATURES,
        standardise_logits=st.booleans(),
    ),
    st.builds(dict, type=st.just('mmbss.DISTLoss'), temperature=TEMPERATURES),
)
