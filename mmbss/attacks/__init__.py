"""Attacks: find samples near a decision boundary; plain torch, no runner needed."""

from mmbss.attacks.base import Attack, AttackResult
from mmbss.attacks.bss import BSSAttack

__all__ = ['Attack', 'AttackResult', 'BSSAttack']
