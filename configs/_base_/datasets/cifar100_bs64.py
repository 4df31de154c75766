# CIFAR-100 in memory. Write data/cifar100/*.npz once:
#   python tools/dataset_to_npz.py CIFAR100 data/cifar100
data_preprocessor = dict(
    type='mmbss.AugmentingDataPreprocessor',
    num_classes=100,
    # of the training images, RGB, in pixels of [0, 255]
    mean=[129.304, 124.070, 112.434],
    std=[68.170, 65.392, 70.418],
    to_rgb=False,  # the arrays are RGB already
    crop_padding=4,
    flip_probability=0.5,
)

train_dataloader = dict(
    batch_size=64,
    num_workers=0,
    dataset=dict(type='mmbss.ArrayDataset', data_file='data/cifar100/train.npz'),
    sampler=dict(type='DefaultSampler', shuffle=True),
)
val_dataloader = dict(
    batch_size=500,
    num_workers=0,
    dataset=dict(type='mmbss.ArrayDataset', data_file='data/cifar100/test.npz', test_mode=True),
    sampler=dict(type='DefaultSampler', shuffle=False),
)
val_evaluator = dict(type='Accuracy', topk=(1,))
test_dataloader = val_dataloader
test_evaluator = val_evaluator
