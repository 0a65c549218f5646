"""ImageLocality: prefers nodes that have the pod's images already, the more the larger they are."""

from __future__ import annotations

from collections.abc import Sequence

from todoku.api.images import ImageError, parse
from todoku.scheduler.framework import MAX_SCORE, Node, Pod, World

MEGABYTE = 1024 * 1024
LEAST, MOST = 23 * MEGABYTE, 1000 * MEGABYTE


class ImageLocality:
    name = "ImageLocality"
    weight = 1

    def rate(self, pod: Pod, nodes: Sequence[Node], world: World) -> Sequence[float] | None:
        wanted = {_normal(c.get("image", "")) for c in pod.spec.get("containers") or ()}
        held = [_images(node) for node in nodes]
        holders = {image: sum(image in one for one in held) for image in wanted}
        if not any(holders.values()):
            return None
        containers = len(pod.spec.get("containers") or ())
        scores = []
        for one in held:
            size = sum(one.get(i, 0) * holders[i] / len(nodes) for i in wanted)
            bounded = min(max(size, LEAST), MOST * containers)
            scores.append(MAX_SCORE * (bounded - LEAST) // (MOST * containers - LEAST))
        return scores


def _images(node: Node) -> dict[str, int]:
    found: dict[str, int] = {}
    for image in (node.object.get("status") or {}).get("images") or ():
        for name in image.get("names") or ():
            found[_normal(name)] = image.get("sizeBytes", 0)
    return found


def _normal(name: str) -> str:
    try:
        return str(parse(name))
    except ImageError:
        return name
