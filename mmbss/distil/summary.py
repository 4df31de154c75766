"""What has come of a distillation, in words and tables."""

from collections.abc import Mapping, Sequence
from typing import Any

from mmbss.distil.choose import LABELS, RULE, Choice, best_of_methods, is_level
from mmbss.distil.running import Outcome
from mmbss.report.text import markdown


def summary(
    choice: Choice,
    methods: Mapping[str, str],
    outcome: Outcome,
    tests: Mapping[str, Any],
    parts: Mapping[str, str],
) -> str:
    """What has come of it, in Markdown.

    Args:
        choice: The choice.
        methods: Method of each setting.
        outcome: What became of the runs.
        tests: See :func:`look_at_tests`.
        parts: Further lines by title: the student, the teacher, files, the report.
    """
    accuracies = {name: own.accuracy for name, own in choice.students.items()}
    best = max(accuracies, key=lambda name: accuracies[name])
    own = best_of_methods(methods, accuracies)
    rows = []
    for name, answers in sorted(choice.students.items(), key=lambda item: -item[1].accuracy):
        level = 'level with the best' if name in choice.level else ''
        marks = [level, 'chosen' if name == choice.name else '']
        rows.append(
            [
                name,
                methods[name],
                f'{answers.accuracy:.1f}',
                f'{answers.agreement(choice.teacher):.1f}',
                ', '.join(mark for mark in marks if mark),
            ]
        )
    rows.append(['teacher', '', f'{choice.teacher.accuracy:.1f}', '100.0', ''])
    head = ['network', 'method', 'accuracy, %', 'agreement with the teacher, %', '']
    lines = [f'**{title}**: {text}\n' for title, text in parts.items()]
    lines += [
        f'## Test images, looked at {"once" if tests["looks"] == 1 else str(tests["looks"])}'
        f'{"" if tests["looks"] == 1 else " times, since the choice has changed"}\n',
        tests_in_words(choice, tests),
        '## Validation images, by which the student was chosen\n',
        markdown(head, rows, words=('method', '')),
        f'{RULE}\n',
        f'By their best settings: {", ".join(own)}. {noise_in_words(choice, best, own)}\n',
    ]
    for name in outcome.skipped:
        lines.append(f'- {name} was not run: it would have ended after the time that was given')
    for name, reason in outcome.failed.items():
        lines.append(f'- {name} failed: {reason}')
    return '\n'.join(lines).rstrip() + '\n'


def tests_in_words(choice: Choice, tests: Mapping[str, Any]) -> str:
    """A table of the test images, and what it says of the choice."""
    rows = [
        [
            name,
            f'{own["accuracy"]:.1f}',
            f'{own["low"]:.1f} to {own["high"]:.1f}',
            f'{own["agreement"]:.1f}',
        ]
        for name, own in tests['figures'].items()
    ]
    head = ['network', 'accuracy, %', '95 % interval', 'agreement with the teacher, %']
    table = markdown(head, rows)
    if choice.name == LABELS:
        return f'{table}\nNo method was chosen over the labels alone.\n'
    gain = tests['figures'][choice.name]['accuracy'] - tests['figures'][LABELS]['accuracy']
    verdict = 'more than chance explains' if tests['p'] < 0.05 else 'within what chance explains'
    return (
        f'{table}\n{choice.name} minus the labels alone: {gain:+.1f} points on {tests["images"]} '
        f"images, {verdict} (McNemar's test, p = {tests['p']:.2g}; one run each, so the spread "
        'between seeds comes on top).\n'
    )


def noise_in_words(choice: Choice, best: str, names: Sequence[str]) -> str:
    """Which methods' best settings cannot be told apart from the most accurate one."""
    others = [name for name in names if name != best]
    same = [name for name in others if is_level(choice.students[name], choice.students[best])]
    if not others:
        return 'There was nothing to compare.'
    if not same:
        return f'{best} is above all others by more than one standard error.'
    return (
        f'Within the noise of these images, {", ".join(same)} {"is" if len(same) == 1 else "are"} '
        f'as good as {best}.'
    )
