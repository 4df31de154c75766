"""Attacks on models that give answers, but no gradients."""

from mmbss.attacks.black_box.gradient_estimation import GradientEstimationAttack
from mmbss.attacks.black_box.substitute import SubstituteAttack

__all__ = ['GradientEstimationAttack', 'SubstituteAttack']
