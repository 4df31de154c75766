"""From the ``losses`` of a config to the terms of a distiller."""

from typing import Any

from mmbss.distillers.gradient_shares import check_share, check_shares
from mmbss.distillers.term_dict import TermDict
from mmbss.engine.build import build_checked
from mmbss.engine.errors import ConfigError
from mmbss.losses import DistillationLoss, Term
from mmbss.registry import MODELS

#: Loss names that mmengine or the head uses.
TAKEN_NAMES = ('loss', 'loss_cls')


def build_terms(configs: dict[str, dict[str, Any]], mixes: bool) -> TermDict:
    """Build the terms of a distiller.

    Args:
        configs: The config of each by its name in the log.
        mixes: Whether the clean batch is mixed (mixup, CutMix).

    Raises:
        ConfigError: See :func:`build_term`; or if terms do not go together, or with mixing.
    """
    terms = TermDict({name: build_term(config, name) for name, config in configs.items()})
    if mixes:
        refuse_hard_labels(terms.all())
    check_shares(terms.shares())
    check_logged_names(terms.all())
    return terms


def build_term(config: dict[str, Any], name: str) -> Term:
    """Build a term from its config; ``name`` is its name in the log.

    Beside the arguments of its class it takes ``share``, see :class:`~mmbss.losses.Term`, and, if
    it is a loss on logits, ``student_logits``, see :class:`~mmbss.losses.DistillationLoss`.

    Raises:
        ConfigError: If the name is taken, it is no term, a key is unknown, ``share`` is out of
            its range or has a weight beside it, or ``student_logits`` is no path.
    """
    # what a term logs has its name without "loss_", and mmengine sums what has "loss" in its name
    # and a module has no dot in its name
    name_is_free = str(name).startswith('loss_') and name not in TAKEN_NAMES
    if not name_is_free or 'loss' in name[5:] or '.' in name:
        raise ConfigError(
            f'losses: {name!r} must start with "loss_", hold no other "loss" and no dot, and not '
            'be "loss_cls"'
        )
    config = dict(config)
    share = config.pop('share', None)
    student_logits = config.pop('student_logits', None)
    term = build_checked(MODELS, config, name)
    if not isinstance(term, Term):
        raise ConfigError(
            f'{name}: {type(term).__name__} is no term: derive it from mmbss.losses.'
            'DistillationLoss, FeatureLoss or Term'
        )
    if not hasattr(term, 'layers'):
        raise ConfigError(
            f'{name}: {type(term).__name__}.__init__ must call super().__init__(loss_weight)'
        )
    if isinstance(term.statistics, str):
        raise ConfigError(
            f'{name}: {type(term).__name__}.statistics={term.statistics!r} is no tuple of names: '
            f'write ({term.statistics!r},)'
        )
    if (weight := config.get('loss_weight', 1)) != 1 == term.loss_weight:
        raise ConfigError(
            f'{name}: {type(term).__name__} takes loss_weight={weight}, but has the weight 1: '
            'hand it on, super().__init__(loss_weight)'
        )
    if share is not None:
        check_share(share, config.get('loss_weight', 1), name)
        term.loss_weight = 1.0
    term.share = share
    if student_logits is not None:
        if not isinstance(term, DistillationLoss) or not isinstance(student_logits, str):
            raise ConfigError(
                f'{name}: student_logits={student_logits!r} must be the path of a layer, or '
                "'token', and the term a loss on logits, such as mmbss.KDLoss"
            )
        term.student_logits = student_logits
    return term


def refuse_hard_labels(terms: dict[str, Term]) -> None:
    """Refuse terms that need hard labels where mixup or CutMix makes soft ones.

    Raises:
        ConfigError: Naming them.
    """
    names = [
        name for name, term in terms.items() if term.needs_hard_labels and not term.needs_unmixed
    ]
    if names:
        raise ConfigError(
            f'losses: {", ".join(names)} needs one hard label a sample, but train_cfg mixes '
            'them (mixup, CutMix): remove train_cfg.augments, or the term'
        )


def check_logged_names(terms: dict[str, Term]) -> None:
    """Refuse two statistics that would be one in the log.

    Raises:
        ConfigError: Naming them.
    """
    names = [
        f'{name.removeprefix("loss_")}_{key}'
        for name, term in terms.items()
        for key in term.statistics
    ]
    if twice := {name for name in names if names.count(name) > 1}:
        raise ConfigError(
            f'losses: two terms would log {sorted(twice)} under one name: rename one of them'
        )
