"""Event: core/v1 and events.k8s.io/v1 are two views of one stored object."""

from __future__ import annotations

from todoku.api import validation
from todoku.api.errors import FieldError, Path, invalid, required
from todoku.api.formats import each
from todoku.api.meta import Object
from todoku.api.resource import Column, Strategy
from todoku.api.resources.generic import NAME
from todoku.api.resources.rules import Rules
from todoku.api.tables import Since

# events.k8s.io/v1 -> core/v1
_FIELDS = {
    "note": "message",
    "regarding": "involvedObject",
    "reportingController": "reportingComponent",
    "deprecatedSource": "source",
    "deprecatedFirstTimestamp": "firstTimestamp",
    "deprecatedLastTimestamp": "lastTimestamp",
    "deprecatedCount": "count",
}
_BACK = {old: new for new, old in _FIELDS.items()}


def to_core(obj: Object) -> Object:
    """An events.k8s.io/v1 Event as core/v1."""
    out = {_FIELDS.get(key, key): value for key, value in obj.items()}
    return {**out, "apiVersion": "v1", "kind": "Event"}


def from_core(obj: Object) -> Object:
    """A core/v1 Event as events.k8s.io/v1."""
    out = {
        _BACK.get(key, key): value
        for key, value in obj.items()
        if value != "" or key not in ("reportingComponent", "reportingInstance")
    }
    return {**out, "apiVersion": "events.k8s.io/v1", "kind": "Event"}


_NAMESPACE_TEXT = "does not match event.namespace"


def _validate(new: Object, old: Object | None) -> list[FieldError]:
    """core/v1: legacy validation."""
    problems: list[FieldError] = []
    namespace = (new.get("involvedObject") or {}).get("namespace") or ""
    own, path = new["metadata"].get("namespace", ""), Path("involvedObject") / "namespace"
    if new.get("eventTime"):
        if not namespace and own not in ("default", "kube-system"):
            problems.append(invalid(path, namespace, _NAMESPACE_TEXT))
        problems += _modern(new)
    elif (namespace or "default") != own:
        problems.append(invalid(path, namespace, _NAMESPACE_TEXT))
    return problems + each(validation.dns1123_subdomain, own, Path("namespace"))


_LIMITS = (("reportingInstance", 128), ("action", 128), ("reason", 128))


def _modern(event: Object) -> list[FieldError]:
    """Events with an eventTime obey the rules of the new API."""
    controller, path = event.get("reportingComponent") or "", Path("reportingController")
    problems = [] if controller else [required(path)]
    problems += each(validation.qualified_name_problems, controller, path)
    for field, limit in _LIMITS:
        if not event.get(field):
            problems.append(required(Path(field)))
        problems += _short(event.get(field) or "", limit, Path(field))
    return problems + _short(event.get("message") or "", 1024, Path("message"))


def _short(text: str, limit: int, path: Path) -> list[FieldError]:
    if len(text.encode()) <= limit:
        return []
    return [invalid(path, "", f"can have at most {limit} characters")]


def _validate_new(new: Object, old: Object | None) -> list[FieldError]:
    """events.k8s.io/v1: strict validation; messages name the fields of core/v1, which is what is stored."""
    event = to_core(new)
    problems = _validate(event, old)
    return problems + (_creation(event) if old is None else _change(event, to_core(old)))


def _series(event: Object) -> list[FieldError]:
    series = event.get("series")
    if series is None:
        return []
    problems: list[FieldError] = []
    if (series.get("count") or 0) < 2:
        problems.append(invalid(Path("series.count"), "", "should be at least 2"))
    if not series.get("lastObservedTime"):
        problems.append(required(Path("series.lastObservedTime")))
    return problems


def _creation(event: Object) -> list[FieldError]:
    problems = _series(event)
    if not event.get("eventTime"):
        problems.append(required(Path("eventTime")))
    if event.get("type") not in ("Normal", "Warning"):
        text = f"has invalid value: {event.get('type') or ''}"
        problems.append(invalid(Path("type"), "", text))
    for field in ("firstTimestamp", "lastTimestamp", "count", "source"):
        value = event.get(field)
        if any(value.values()) if isinstance(value, dict) else value:
            problems.append(invalid(Path(field), "", "needs to be unset"))
    return problems


# In the order that changes are told; reason is looked at twice.
_FIXED = (
    "involvedObject", "reason", "message", "source", "firstTimestamp", "lastTimestamp", "count", "reason", "type",
    "eventTime", "action", "related", "reportingController", "reportingInstance",
)  # fmt: skip


def _change(new: Object, old: Object) -> list[FieldError]:
    problems = _series(new) if new.get("series") != old.get("series") else []
    for field in _FIXED:
        key = "reportingComponent" if field == "reportingController" else field
        problems += validation.immutable(new.get(key), old.get(key), Path(field))
    return problems


def _last_seen(event: Object) -> Since:
    series = event.get("series")
    if series is not None:
        return Since(series.get("lastObservedTime") or "")
    return Since(event["lastTimestamp"]) if event.get("lastTimestamp") else _first_seen(event)


def _first_seen(event: Object) -> Since:
    return Since(event.get("firstTimestamp") or event.get("eventTime") or "")


def _count(event: Object) -> int:
    series = event.get("series")
    # An event of the new API that happened once has no count.
    return int(series.get("count") or 0) if series is not None else event.get("count") or 1


def _row(event: Object) -> list[object]:
    target, source = event.get("involvedObject") or {}, event.get("source") or {}
    kind, name = target.get("kind", "").lower(), target.get("name")
    component = source.get("component") or event.get("reportingComponent") or ""
    host = source.get("host") or event.get("reportingInstance")
    return [
        _last_seen(event),
        event.get("type", ""),
        event.get("reason", ""),
        f"{kind}/{name}" if name else kind,
        target.get("fieldPath", ""),
        f"{component}, {host}" if host else component,
        (event.get("message") or "").strip(),
        _first_seen(event),
        _count(event),
        event["metadata"]["name"],
    ]


def _selectable(event: Object) -> dict[str, str]:
    target, source = event.get("involvedObject") or {}, event.get("source") or {}
    fields = {f"involvedObject.{key}": target.get(key, "") for key in _TARGET_FIELDS}
    return {
        **fields,
        "reason": event.get("reason", ""),
        "reportingComponent": event.get("reportingComponent", ""),
        "source": source.get("component") or event.get("reportingComponent", ""),
        "type": event.get("type", ""),
    }


_TARGET_FIELDS = ("kind", "namespace", "name", "uid", "apiVersion", "resourceVersion", "fieldPath")


def _selectable_new(event: Object) -> dict[str, str]:
    core = _selectable(to_core(event))
    out = {key.replace("involvedObject", "regarding"): value for key, value in core.items()}
    out["reportingController"] = out.pop("reportingComponent")
    out.pop("source")
    return out


_COLUMNS = (
    Column(name="Last Seen", documents="core.v1.Event.lastTimestamp"),
    Column(name="Type", documents="core.v1.Event.type"),
    Column(name="Reason", documents="core.v1.Event.reason"),
    Column(name="Object", documents="core.v1.Event.involvedObject"),
    Column(name="Subobject", priority=1, documents="core.v1.ObjectReference.fieldPath"),
    Column(name="Source", priority=1, documents="core.v1.Event.source"),
    Column(name="Message", documents="core.v1.Event.message"),
    Column(name="First Seen", priority=1, documents="core.v1.Event.firstTimestamp"),
    Column(name="Count", priority=1, documents="core.v1.Event.count"),
    Column(name="Name", format="name", priority=1, documents=NAME.documents),
)

EVENT = Rules(
    strategy=Strategy(
        validate=_validate,
        selectable_fields=_selectable,
        selectable_field_names=tuple(_selectable({"metadata": {}})),
        has_status=False,
        has_generation=False,
    ),
    columns=_COLUMNS,
    row=_row,
)

EVENT_V1 = Rules(
    strategy=Strategy(
        validate=_validate_new,
        selectable_fields=_selectable_new,
        selectable_field_names=tuple(_selectable_new({"metadata": {}})),
        has_status=False,
        has_generation=False,
    ),
    columns=_COLUMNS,
    row=lambda obj: _row(to_core(obj)),
    storage=("", "v1"),
    to_storage=to_core,
    from_storage=from_core,
)
