"""Why images of a folder are left out, for a refusal of what is left of it."""

from collections.abc import Container, Sequence
from dataclasses import dataclass

from mmbss.distil.images import ImageFile
from mmbss.engine.errors import first_of
from mmbss.engine.words import counted

Groups = Sequence[Sequence[ImageFile]]


@dataclass(frozen=True)
class Lost:
    """What images are left out.

    Attributes:
        found: All images.
        conflicts: See :func:`~mmbss.distil.splits.conflicting`.
        leaks: See :func:`~mmbss.distil.splits.leaking`.
    """

    found: Sequence[ImageFile]
    conflicts: Groups
    leaks: Groups

    def reasons(self, labels: Container[str] | None = None, split: str | None = None) -> list[str]:
        """How many are left out for each reason, one of them, and what to do about it.

        Args:
            labels: Of the classes that it is about; None: all.
            split: That it is about; None: all.
        """

        def concerns(each: ImageFile) -> bool:
            return (labels is None or each.label in labels) and split in (None, each.split)

        unreadable = [each for each in self.found if each.error and concerns(each)]
        conflicts = [group for group in self.conflicts if any(map(concerns, group))]
        # the first files stay where they are, see leaking()
        leaks = [
            group
            for group in self.leaks
            if any(each.split != group[0].split and concerns(each) for each in group)
        ]
        reasons = []
        if unreadable:
            reasons.append(
                f'{counted(len(unreadable), "image")} cannot be read, such as '
                f'{unreadable[0].path} ({unreadable[0].error}): restore or remove such files'
            )
        if conflicts:
            count = sum(len(group) for group in conflicts)
            reasons.append(
                f'{self._share(count)} are left out, since the same picture lies in two classes, '
                f'such as {_shown(conflicts[0])}: {_cure(conflicts)}'
            )
        if leaks:
            count = sum(each.split != group[0].split for group in leaks for each in group)
            reasons.append(
                f'{self._share(count)} are left out, since the same picture lies in two splits, '
                f'such as {_shown(leaks[0])}: remove it from one of them'
            )
        return reasons

    def _share(self, count: int) -> str:
        return f'{count:,} of {counted(len(self.found), "image")}'


def _shown(group: Sequence[ImageFile]) -> str:
    return first_of([each.path for each in group], between=' = ')


def _cure(conflicts: Groups) -> str:
    """A class that has a part in every conflict is the copy."""
    labels = [{each.label for each in group} for group in conflicts]
    common = sorted(set.intersection(*labels))
    if len(common) == 1 and len(set.union(*labels)) > 2:
        return f'remove the folder {common[0]}, which has copies of the others'
    return 'remove one of the two folders, or the picture from one of them'
