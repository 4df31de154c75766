# Defensive distillation, first half: training at T = 100 on hard labels
_base_ = './cnn_1xb128-6e_mnist.py'

model = dict(head=dict(loss=dict(type='mmbss.TemperatureCrossEntropy', temperature=100.0)))
