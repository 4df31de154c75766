"""The results of a study in Markdown: arms, differences, metrics of the finished students."""

from collections.abc import Mapping, Sequence

from mmbss.studies.accuracy_table import Row, accuracy_markdown
from mmbss.studies.metric_tables import METRIC_LINES
from mmbss.studies.results import Difference, Result
from mmbss.studies.statistics import paired_differences, paired_test, seeds_needed
from mmbss.studies.study import Study
from mmbss.studies.text import markdown, spread, tallied

#: Differences, in points, for which the size of the next study is given.
EFFECTS = (0.5, 1.0)

Shown = Mapping[str, Sequence[Result]]


def study_markdown(
    study: Study,
    shown: Shown,
    found: Sequence[Difference],
    others: Sequence[tuple[str, int | None]] = (),
) -> str:
    """All tables of a study, with what has to be said beside them.

    Args:
        study: The study.
        shown: Its results by arm.
        found: Its differences.
        others: Arms and seeds whose results belong to other settings, and are not among these.
    """
    rows = [Row(name, results) for name, results in shown.items()]
    parts = [f'{study.question}\n'] if study.question else []
    parts.append(accuracy_markdown(rows, study.metric))
    left = []
    for name in study.arms:
        planned = study.seeds_of(name)
        here = {*planned} & {each.seed for each in shown.get(name, ())}
        if len(here) < len(planned):
            left.append(f'{name} {len(here)} of {len(planned)} seeds')
    if left:
        parts.append(f'Not complete: {", ".join(left)}.\n')
    if others:
        listed = ', '.join(f'{arm} seed {seed}' for arm, seed in others)
        parts.append(f'Left out, since they belong to other settings: {listed}.\n')
    if found:
        parts.append(differences_markdown(found, study.margin))
        if any(each.is_contrast for each in found):
            parts.append(f'{contrast_in_words(study, shown)}\n')
    if any(result.metrics for results in shown.values() for result in results):
        parts.append(metrics_markdown(study, shown))
    for title in ('commit', 'device'):
        if listed := tallied(getattr(each, title) for own in shown.values() for each in own):
            parts.append(f'{title.capitalize()}s, with the number of runs: {listed}.\n')
    return '\n'.join(parts)


def differences_markdown(found: Sequence[Difference], margin: float) -> str:
    """A line for each difference; the contrast is in bold."""
    head = ['difference', 'pairs', 'mean', '95 % interval', 'p', 'p, sign flips']
    head += [f'p, within {margin:g}', 'seeds to show ' + ' / '.join(f'{e:g}' for e in EFFECTS)]
    lines = []
    for each in found:
        test, name = each.test, f'{each.first} - {each.second}'
        interval = '' if test.low is None else f'{test.low:+.2f} to {test.high:+.2f}'
        deviation = test.standard_deviation
        needed = [seeds_needed(effect, deviation) for effect in EFFECTS] if deviation else []
        lines.append(
            [
                f'**{name}**' if each.is_contrast else name,
                f'{test.pairs}',
                f'{test.mean:+.2f}',
                interval,
                p_text(each.p),
                p_text(test.p_sign_flip),
                p_text(test.p_equivalence),
                ' / '.join(map(str, needed)),
            ]
        )
    return markdown(head, lines)


def contrast_in_words(study: Study, shown: Shown) -> str:
    """What the contrast says, in a sentence: by the first look that decides, else by the last.

    A look is taken as soon as its seeds, the first of the study's, are all there.

    Args:
        study: A study with a contrast.
        shown: Its results by arm.
    """
    assert study.contrast is not None
    name, looks = ' - '.join(study.contrast), study.planned
    level, planned = 0.05 / len(looks), ', '.join(map(str, looks))
    values = [{each.seed: each.value for each in shown.get(arm, ())} for arm in study.contrast]
    said = f'The contrast {name} is looked at after {planned} seeds, which are not all there.'
    for count in looks:
        seeds = study.seeds[:count]
        if any(seed not in own for own in values for seed in seeds):
            break
        paired = paired_differences(*({seed: own[seed] for seed in seeds} for own in values))
        test = paired_test(paired, study.margin)
        if test.p_t is None:
            said = f'The contrast {name} has no spread yet to test it with ({test.pairs} pairs).'
            continue
        equivalent = test.p_equivalence is not None and test.p_equivalence < level
        if test.p_t < level:
            verdict = f'is {"above" if test.mean > 0 else "below"} 0'
            verdict += ', but by less than the margin' if equivalent else ''
        elif equivalent:
            verdict = 'is none, within the margin'
        else:
            verdict = 'is not decided: neither shown nor excluded'
        is_decided = equivalent or test.p_t < level
        plan = f'; looks after {planned} seeds, each at {level:g}' if len(looks) > 1 else ''
        if is_decided and count != looks[-1]:
            plan += f', of which the one after {count} has decided'
        p = p_text(test.p_t)
        said = f'The contrast, written down first: {name} {verdict} (p = {p}{plan}).'
        if is_decided:
            break
    return said


def metrics_markdown(study: Study, shown: Shown) -> str:
    """A line for each metric of the evaluators: each arm, and the contrast.

    Cells are the mean and the standard deviation (n - 1), of the contrast those of the differences.
    """
    names = dict.fromkeys(
        name for own in shown.values() for result in own for name in result.metrics
    )
    by_arm = {
        name: {
            arm: {each.seed: each.metrics[name] for each in own if name in each.metrics}
            for arm, own in shown.items()
        }
        for name in names
    }
    lines = []
    for name, values in by_arm.items():
        found = [value for own in values.values() for value in own.values()]
        form = next((form for key, _, form in METRIC_LINES if key == name), '')
        if not form:  # whole numbers are counts
            form = '.0f' if all(float(value).is_integer() for value in found) else '.4g'
        line = [spread([*own.values()], form) if own else '' for own in values.values()]
        if study.contrast:
            paired = paired_differences(*(values.get(arm, {}) for arm in study.contrast))
            line.append(spread(paired, f'+{form}') if paired else '')
        lines.append([name, *line])
    head = ['last checkpoint', *shown, *([' - '.join(study.contrast)] if study.contrast else [])]
    return markdown(head, lines)


def p_text(p: float | None) -> str:
    """A p value.

    Examples:
        >>> p_text(0.0312), p_text(0.00001), p_text(None)
        ('0.031', '< 0.001', '')
    """
    if p is None:
        return ''
    return '< 0.001' if p < 0.001 else f'{p:.3f}'
