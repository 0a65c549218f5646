"""The Events of an object, as every `describe` ends."""

import time
from datetime import datetime

from todoku.api.meta import Object
from todoku.cli.kubectl_lib.describe.document import Document
from todoku.client import Client


async def add_events(client: Client, document: Document, obj: Object) -> None:
    """Append the Events that concern `obj`, oldest first."""
    metadata = obj["metadata"]
    fields = f"involvedObject.name={metadata['name']},involvedObject.kind={obj.get('kind', '')}"
    if metadata.get("uid"):
        fields += f",involvedObject.uid={metadata['uid'] if obj.get('kind') != 'Node' else metadata['name']}"
    listed = await client.list("events", metadata.get("namespace") or None, fields=fields)
    events = sorted(listed.items, key=lambda one: str(_last(one)))
    if not events:
        document.field("Events", "<none>")
        return
    now = time.time()
    document.line("Events:")
    with document.nested():
        rows = [
            ("Type", "Reason", "Age", "From", "Message"),
            *(_row(event, now) for event in events),
        ]
        document.table(rows, shortest_rule=4)


def _row(event: Object, now: float) -> tuple[str, ...]:
    age = ago(_last(event), now)
    count = int((event.get("series") or {}).get("count") or event.get("count") or 1)
    if count > 1:
        age = f"{age} (x{count} over {ago(_first(event), now)})"
    source = event.get("source") or {}
    component = source.get("component") or event.get("reportingComponent") or ""
    message = str(event.get("message") or "").strip()
    return (event.get("type", ""), event.get("reason", ""), age, component, message)


def _last(event: Object) -> str:
    series = event.get("series") or {}
    return str(
        series.get("lastObservedTime") or event.get("lastTimestamp") or event.get("eventTime") or ""
    )


def _first(event: Object) -> str:
    return str(event.get("firstTimestamp") or event.get("eventTime") or "")


def ago(stamp: str, now: float) -> str:
    """A time as kubectl shortens it: `7s`, `3m20s`, `5h`, `2d`."""
    moment = seconds_of(stamp)
    return "<unknown>" if moment is None else shortened(now - moment)


def seconds_of(stamp: str) -> float | None:
    """RFC 3339 as seconds since 1970."""
    try:
        return datetime.fromisoformat(stamp).timestamp()
    except ValueError:
        return None


def shortened(seconds: float) -> str:
    """k8s.io/apimachinery duration.HumanDuration."""
    whole = int(seconds)
    if whole < 0:
        return "0s" if whole >= -1 else "<invalid>"
    if whole < 120:
        return f"{whole}s"
    minutes, hours, days = whole // 60, whole // 3600, whole // 86400
    if minutes < 10:
        return f"{minutes}m{whole % 60}s" if whole % 60 else f"{minutes}m"
    if minutes < 180:
        return f"{minutes}m"
    if hours < 8:
        return f"{hours}h{minutes % 60}m" if minutes % 60 else f"{hours}h"
    if hours < 48:
        return f"{hours}h"
    if hours < 192:
        return f"{days}d{hours % 24}h" if hours % 24 else f"{days}d"
    if days < 730:
        return f"{days}d"
    years = days // 365
    return f"{years}y{days % 365}d" if years < 8 and days % 365 else f"{years}y"
