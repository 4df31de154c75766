"""What a report contains."""

from collections.abc import Collection
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class ReportOptions:
    """What a report contains.

    Attributes:
        title: Its heading; '' stands for the name of the run or the folder.
        metric: Validation metric of the table.
        logs_only: Leave out what needs the networks and the data.
        num_samples: Test samples that are attacked, for pictures and metrics.
        num_tested: Test samples that the other metrics are measured on, at most.
        num_planes: Decision planes.
        num_pictured: Boundary samples that are drawn.
        resolution: Grid points on a side of a decision plane.
        students: Names of those whose networks are asked; None: all.
        metrics: What ``tools/evaluate_boundary.py`` has written; None computes it.
    """

    title: str = ''
    metric: str = 'accuracy/top1'
    logs_only: bool = False
    num_samples: int = 200
    num_tested: int = 2000
    num_planes: int = 2
    num_pictured: int = 4
    resolution: int = 60
    students: Collection[str] | None = None
    metrics: dict[str, Any] | None = None
