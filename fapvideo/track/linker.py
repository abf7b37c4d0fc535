"""Which detection belongs to which track."""

from __future__ import annotations

import numpy as np

from fapvideo.ops.geometry import iou
from fapvideo.structs import Floats


def associate(tracked: Floats, found: Floats, max_cost: float = 1.2) -> list[tuple[int, int]]:
    """Pair tracked boxes [N, 4] with found boxes [M, 4] by the Hungarian method.

    The cost is one minus the overlap plus the distance of the centres in box sizes; pairs above
    `max_cost` are left apart.
    """
    from scipy.optimize import linear_sum_assignment

    if not len(tracked) or not len(found):
        return []
    size = np.sqrt(np.maximum(tracked[:, 2:] - tracked[:, :2], 1).prod(axis=-1))
    centres = [(boxes[:, :2] + boxes[:, 2:]) / 2 for boxes in (tracked, found)]
    distance = np.linalg.norm(centres[0][:, None] - centres[1][None], axis=-1) / size[:, None]
    cost = 1.0 - iou(tracked, found) + distance
    rows, columns = linear_sum_assignment(cost)
    return [(int(i), int(j)) for i, j in zip(rows, columns, strict=True) if cost[i, j] <= max_cost]
