# scikit-learn's handwritten digits, 8 x 8 grey pixels: real data that needs no download
data_preprocessor = dict(
    type='mmbss.AugmentingDataPreprocessor',
    num_classes=10,
    # of the training images, in pixels of [0, 255]
    mean=[77.9],
    std=[95.9],
    crop_padding=1,
)

train_dataloader = dict(
    batch_size=64,
    num_workers=0,
    dataset=dict(type='mmbss.Digits', split='train'),
    sampler=dict(type='DefaultSampler', shuffle=True),
)
val_dataloader = dict(
    batch_size=540,
    num_workers=0,
    dataset=dict(type='mmbss.Digits', split='test', test_mode=True),
    sampler=dict(type='DefaultSampler', shuffle=False),
)
val_evaluator = dict(type='Accuracy', topk=(1,))
test_dataloader = val_dataloader
test_evaluator = val_evaluator
