"""Attacks: find samples near a decision boundary; plain torch, no runner needed.

Read first :mod:`~mmbss.attacks.functional`, the margin and the steps down it; then
:mod:`~mmbss.attacks.base`, what an attack takes and returns; then :mod:`~mmbss.attacks.bss`, the
published attack, with its loop in :mod:`~mmbss.attacks.moving`. Each of the others is on its own;
those that go toward another image share :mod:`~mmbss.attacks.partners`.
"""

from mmbss.attacks.base import Attack, AttackResult, Partners
from mmbss.attacks.bss import BSSAttack
from mmbss.attacks.closest import ClosestAttack
from mmbss.attacks.gradient_sign import FGSMAttack, PGDAttack
from mmbss.attacks.jsma import JSMAAttack
from mmbss.attacks.library import LibraryAttack
from mmbss.attacks.mixes import ChosenMixAttack, RandomMixAttack
from mmbss.attacks.newton import NewtonAttack
from mmbss.attacks.noise import RandomNoiseAttack
from mmbss.attacks.segment import SegmentAttack

__all__ = [
    'Attack',
    'AttackResult',
    'BSSAttack',
    'ChosenMixAttack',
    'ClosestAttack',
    'FGSMAttack',
    'JSMAAttack',
    'LibraryAttack',
    'NewtonAttack',
    'PGDAttack',
    'Partners',
    'RandomMixAttack',
    'RandomNoiseAttack',
    'SegmentAttack',
]
