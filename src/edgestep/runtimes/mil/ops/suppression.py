"""non_maximum_suppression: boxes in the order of their scores, those left out that overlap one before them.

A box's score is the greatest of its classes' and that class is its own. What is not filled is 0, its index -1: MIL
says "padded" and no more, and coremltools' tests pad so.
"""

import torch

from edgestep.runtimes.mil.arguments import Value, flag, integer, number


def non_maximum_suppression(
    boxes: torch.Tensor,
    scores: torch.Tensor,
    iou_threshold: Value,
    max_boxes: Value,
    score_threshold: Value | None = None,
    per_class_suppression: Value | bool = False,
) -> tuple[torch.Tensor, ...]:
    """Return boxes, scores and int32 indices of the best [n, max_boxes], with a score threshold their count [n] too.

    iOS 15 has that threshold, boxes [n, B, 4] (centre x and y, width, height) and scores [n, B, K]; iOS 17 has none,
    boxes [n, 4, B] and scores [n, K, B], and gives what it keeps in that order.
    """
    old = score_threshold is not None
    if not old:
        boxes, scores = boxes.transpose(1, 2), scores.transpose(1, 2)
    floor = number(score_threshold) if score_threshold is not None else -torch.inf
    overlap, by_class = number(iou_threshold), flag(per_class_suppression)
    count = integer(max_boxes)
    chosen = [_chosen(one, score, overlap, floor, by_class)[:count] for one, score in zip(boxes, scores, strict=True)]
    kept = [_filled(values, chosen, count, 0) for values in (boxes, scores)]
    numbers = torch.arange(boxes.shape[1], dtype=torch.int32, device=boxes.device).expand(boxes.shape[:2])
    indices = _filled(numbers, chosen, count, -1)
    if not old:
        return kept[0].transpose(1, 2), kept[1].transpose(1, 2), indices
    counts = torch.tensor([len(each) for each in chosen], dtype=torch.int32, device=boxes.device)
    return kept[0], kept[1], indices, counts


def _chosen(boxes: torch.Tensor, scores: torch.Tensor, overlap: float, floor: float, by_class: bool) -> list[int]:
    """Return the numbers of the boxes [B, 4] that stay, the best first; a score below `floor` is out."""
    best, classes = scores.max(-1)
    rivals = intersection_over_union(boxes) > overlap
    if by_class:
        rivals &= classes[:, None] == classes
    chosen: list[int] = []
    for i in torch.argsort(best, descending=True, stable=True).tolist():
        if best[i] >= floor and not any(rivals[i, j] for j in chosen):
            chosen.append(i)
    return chosen


def intersection_over_union(boxes: torch.Tensor) -> torch.Tensor:
    """Return how much of two boxes' union both cover [B, B], of boxes [B, 4] by centre and size; 0 of empty ones."""
    centre, size = boxes[:, :2], boxes[:, 2:]
    low, high = centre - size / 2, centre + size / 2
    sides = torch.minimum(high[:, None], high) - torch.maximum(low[:, None], low)
    both = sides.clamp(min=0).prod(-1)
    area = size.prod(-1)
    return torch.nan_to_num(both / (area[:, None] + area - both), nan=0.0)


def _filled(values: torch.Tensor, chosen: list[list[int]], count: int, rest: int) -> torch.Tensor:
    filled = values.new_full((values.shape[0], count, *values.shape[2:]), rest)
    for batch, numbers in enumerate(chosen):
        filled[batch, : len(numbers)] = values[batch, numbers]
    return filled
