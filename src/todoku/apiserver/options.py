"""ListOptions, CreateOptions, UpdateOptions and PatchOptions of a request's query, judged before the verb begins.

Semantics and wording: k8s.io/apimachinery meta/internalversion/validation and meta/v1/validation.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from todoku.api import errors
from todoku.api.errors import FieldError, Path

_MANAGER_LIMIT_BYTES = 128
_NOT_OLDER_THAN = "NotOlderThan"
_MATCHES = ("Exact", _NOT_OLDER_THAN)
_KINDS = {"create": "CreateOptions", "update": "UpdateOptions", "patch": "PatchOptions"}
FIELD_VALIDATION = ("", "Ignore", "Strict", "Warn")


def flag(query: Mapping[str, str], name: str) -> bool | None:
    """A boolean parameter; None if absent.  Whatever is not "0" or "false" is true, as in `?watch`."""
    text = query.get(name)
    return None if text is None else text != "0" and text.lower() != "false"


def integer(query: Mapping[str, str], name: str) -> int:
    """A parameter that is a whole number, 0 if absent.  Raises BadRequest."""
    text = query.get(name) or "0"
    why = "value out of range"
    try:
        value = int(text)
        if -(1 << 63) <= value < 1 << 63:
            return value
    except ValueError:
        why = "invalid syntax"
    raise errors.BadRequest(f'strconv.ParseInt: parsing "{text}": {why}')


def check_list(query: Mapping[str, str]) -> None:
    """Raises Invalid for parameters of a list that contradict each other, BadRequest for what is no number."""
    if not query:
        return
    integer(query, "timeoutSeconds")
    _refuse("ListOptions", list(_list_problems(query)))


def _list_problems(query: Mapping[str, str]) -> Iterator[FieldError]:
    match, version = query.get("resourceVersionMatch", ""), query.get("resourceVersion", "")
    path = Path("resourceVersionMatch")
    if match:
        if not version:
            text = "resourceVersionMatch is forbidden unless resourceVersion is provided"
            yield errors.forbidden(path, text)
        if query.get("continue"):
            yield errors.forbidden(
                path, "resourceVersionMatch is forbidden when continue is provided"
            )
        if match not in _MATCHES:
            yield errors.not_supported(path, match, (*_MATCHES, ""))
        if match == "Exact" and version == "0":
            text = 'resourceVersionMatch "exact" is forbidden for resourceVersion "0"'
            yield errors.forbidden(path, text)
    if flag(query, "sendInitialEvents") is not None:
        yield errors.forbidden(Path("sendInitialEvents"), "sendInitialEvents is forbidden for list")


def streams_a_list(query: Mapping[str, str]) -> bool:
    """Whether a watch is a streaming list: its first events are the items, and a bookmark ends them."""
    return bool(flag(query, "sendInitialEvents") and flag(query, "allowWatchBookmarks"))


def check_watch(query: Mapping[str, str]) -> None:
    """Raises Invalid for parameters of a watch that contradict each other (KEP-3157)."""
    _refuse("ListOptions", list(_watch_problems(query)))


def _watch_problems(query: Mapping[str, str]) -> Iterator[FieldError]:
    match, path = query.get("resourceVersionMatch", ""), Path("resourceVersionMatch")
    initial = flag(query, "sendInitialEvents")
    if initial is not None and match != _NOT_OLDER_THAN:
        text = f"sendInitialEvents requires setting resourceVersionMatch to {_NOT_OLDER_THAN}"
        yield errors.forbidden(path, text)
    if not match:
        return
    if initial is None:
        text = "resourceVersionMatch is forbidden for watch unless sendInitialEvents is provided"
        yield errors.forbidden(path, text)
    if match != _NOT_OLDER_THAN:
        yield errors.not_supported(path, match, (_NOT_OLDER_THAN,))
    if query.get("continue"):
        yield errors.forbidden(path, "resourceVersionMatch is forbidden when continue is provided")


def check_write(verb: str, query: Mapping[str, str], dry_run: list[str]) -> None:
    """Raises Invalid for parameters of a create, update or patch that mean nothing."""
    problems = list(manager_problems(query.get("fieldManager", ""), Path("fieldManager")))
    problems += dry_run_problems(dry_run)
    mode = query.get("fieldValidation", "")
    if mode not in FIELD_VALIDATION:
        problems.append(errors.not_supported(Path("fieldValidation"), mode, FIELD_VALIDATION))
    _refuse(_KINDS.get(verb, "UpdateOptions"), problems)


def manager_problems(manager: str, path: Path) -> Iterator[FieldError]:
    """The name of a field manager is short and can be printed."""
    if len(manager.encode()) > _MANAGER_LIMIT_BYTES:
        yield errors.too_long(path, _MANAGER_LIMIT_BYTES)
    position = 0
    for one in manager:
        if not one.isprintable():
            text = f"invalid character U+{ord(one):04X} (at position {position})"
            yield errors.invalid(path, manager, text)
        position += len(one.encode())


def dry_run_problems(values: list[str]) -> list[FieldError]:
    if all(value == "All" for value in values):
        return []
    return [errors.not_supported(Path("dryRun"), values, ("All",))]


def _refuse(kind: str, problems: list[FieldError]) -> None:
    if problems:
        raise errors.Invalid.of(kind, "meta.k8s.io", "", problems)
