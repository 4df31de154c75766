# CIFAR-10 in memory. Write data/cifar10/*.npz once:
#   python tools/dataset_to_npz.py CIFAR10 data/cifar10
data_preprocessor = dict(
    type='mmbss.AugmentingDataPreprocessor',
    num_classes=10,
    # mean (.4914, .4822, .4465) and std (.2023, .1994, .2010) of RGB, in pixels of [0, 255]
    mean=[125.307, 122.961, 113.8575],
    std=[51.5865, 50.847, 51.255],
    to_rgb=False,  # the arrays are RGB already
    crop_padding=4,
    flip_probability=0.5,
)

train_dataloader = dict(
    batch_size=256,
    num_workers=0,
    # fewer samples: --cfg-options train_dataloader.dataset.fraction=0.1
    dataset=dict(
        type='mmbss.StratifiedSubset',
        fraction=1.0,
        dataset=dict(type='mmbss.ArrayDataset', data_file='data/cifar10/train.npz'),
    ),
    sampler=dict(type='DefaultSampler', shuffle=True),
)
val_dataloader = dict(
    batch_size=500,
    num_workers=0,
    dataset=dict(type='mmbss.ArrayDataset', data_file='data/cifar10/test.npz', test_mode=True),
    sampler=dict(type='DefaultSampler', shuffle=False),
)
val_evaluator = dict(type='Accuracy', topk=(1,))
test_dataloader = val_dataloader
test_evaluator = val_evaluator
