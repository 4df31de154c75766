import torch

from mmbss.attacks import AttackResult
from mmbss.visualization.draw_attacks import draw_attacks


def found(sample, logits, success):
    one = torch.tensor([1])
    return AttackResult(
        *(sample, torch.tensor([logits]), torch.tensor([0]), one),
        *(torch.tensor([success]), one),
    )


def test_each_attack_says_what_it_has_found():
    sample = torch.zeros(1, 3, 4, 4)
    moved = sample.clone()
    moved[0, 0, 0, :2] = torch.tensor([0.3, -0.4])
    results = {
        'near': found(moved, [0.0, 1.0], True),
        'rejected': found(moved, [1.0, 0.0], False),
        'still': found(sample, [1.0, 0.0], False),
    }
    figure = draw_attacks(sample, results, (-1.0, 1.0), ['cat', 'dog'])
    shown = [(axis.get_title(), axis.get_xlabel()) for axis in figure.axes if axis.axison]
    assert shown[:4] == [
        ('base sample', 'cat'),
        ('near', 'dog'),
        ('rejected', '(cat)'),
        ('still', '(cat)'),
    ]
    # (0.3, -0.4) in units of which two are the whole range
    assert shown[4] == ('', 'x 2.5, length 0.25')
    assert shown[6][1].endswith('length 0.00')


def test_further_attacks_go_to_further_lines():
    sample = torch.zeros(1, 1, 2, 2)
    results = {str(number): found(sample, [1.0, 0.0], False) for number in range(4)}
    figure = draw_attacks(sample, results, (0.0, 1.0), ['cat', 'dog'])
    assert len(figure.axes) == 16
    assert figure.axes[8].get_title() == '3'
