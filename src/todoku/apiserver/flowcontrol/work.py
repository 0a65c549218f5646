"""How many seats a request takes: lists by the size of their answer, everything else one."""

from __future__ import annotations

from collections.abc import Mapping

from todoku.apiserver.context import Engine
from todoku.apiserver.request import RequestInfo

_BYTES_PER_SEAT = 100_000
# An answer from memory is sent in pieces, whatever its size.
_MOST_BYTES = 1_000_000


def width(engine: Engine, info: RequestInfo, query: Mapping[str, str], widest: int) -> int:
    """1 to `widest` seats (k8s.io/apiserver list work estimator)."""
    if info.verb == "watch":
        if query.get("sendInitialEvents") not in ("true", "1", "True", "TRUE", "t", "T"):
            return 1
    elif info.verb != "list":
        return 1
    if info.name or info.field_selector.startswith("metadata.name="):
        return 1
    served = engine.catalog.find(info.group, info.version, info.resource)
    if served is None:
        return 1
    collection = engine.collection(served)
    count = stored = len(collection.keys)
    limit = query.get("limit", "")
    if limit.isascii() and limit.isdigit() and 0 < int(limit[:9]) < stored:
        count = int(limit[:9])
    size = min(count * collection.size_bytes // stored, _MOST_BYTES) if stored else 0
    return max(1, min(-(-size // _BYTES_PER_SEAT), widest))
