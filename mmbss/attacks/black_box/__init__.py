"""Attacks on models that give logits or decisions, but no gradients."""

from mmbss.attacks.black_box.gradient_estimation import GradientEstimationAttack
from mmbss.attacks.black_box.substitute import SubstituteAttack

__all__ = ['GradientEstimationAttack', 'SubstituteAttack']
