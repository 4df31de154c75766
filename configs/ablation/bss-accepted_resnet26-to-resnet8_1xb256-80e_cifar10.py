# the recipe as the paper has it: accepted samples alone, within the pixel range
_base_ = '../bss/bss_resnet26-to-resnet8_1xb256-80e_cifar10.py'

model = dict(boundary=dict(train_on='accepted', bounds=None))
