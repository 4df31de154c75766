# MNIST in memory, no augmentation. Write data/mnist/*.npz once:
#   python tools/dataset_to_npz.py MNIST data/mnist
data_preprocessor = dict(
    type='mmbss.AugmentingDataPreprocessor',
    num_classes=10,
    # of the training images, in pixels of [0, 255]
    mean=[33.3],
    std=[78.6],
)

train_dataloader = dict(
    batch_size=256,
    num_workers=0,
    dataset=dict(type='mmbss.ArrayDataset', data_file='data/mnist/train.npz'),
    sampler=dict(type='DefaultSampler', shuffle=True),
)
val_dataloader = dict(
    batch_size=1000,
    num_workers=0,
    dataset=dict(type='mmbss.ArrayDataset', data_file='data/mnist/test.npz', test_mode=True),
    sampler=dict(type='DefaultSampler', shuffle=False),
)
val_evaluator = dict(type='Accuracy', topk=(1,))
test_dataloader = val_dataloader
test_evaluator = val_evaluator
