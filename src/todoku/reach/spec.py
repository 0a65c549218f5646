"""ReachSpec: assertions about who reaches what, for `todoku check` (apiVersion todoku/v1alpha1).

    expect:
    - {name: public, from: outside/*, to: "svc/web:80@lb", verdict: allowed, backends: {min: 2}}
    - {name: inside only, from: outside/*, to: "svc/web:80@clusterip", verdict: denied, outcome: [timeout]}
    - {name: survives, given: {stop: node/n1}, within: 10s, from: outside/c1, to: "svc/web:80@lb", verdict: allowed}

Every problem of a file is collected, with its line and what to do about it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from todoku.api import located, times
from todoku.api.located import BadFile, Located, Where
from todoku.reach.outcome import Outcome
from todoku.reach.targets import At

API_VERSION, KIND = "todoku/v1alpha1", "ReachSpec"
_TOP = ("apiVersion", "kind", "metadata", "defaults", "expect")
_DEFAULTS = ("timeout", "attempts", "requests", "namespace")
_ASSERTION = (
    "name", "from", "to", "verdict", "outcome", "backends", "clientSeen", "given", "within",
    "requests", "timeout", "namespace",
)  # fmt: skip
_GIVEN = ("stop", "pause", "cut")


@dataclass(frozen=True, slots=True)
class Backends:
    """How many different pods must have answered; 0 means no bound."""

    minimum: int = 0
    maximum: int = 0


@dataclass(frozen=True, slots=True)
class Fault:
    """What is broken while the assertion is tried; undone afterwards."""

    action: Literal["stop", "pause", "cut"]
    machine: str


@dataclass(frozen=True, slots=True)
class Assertion:
    """One line of the file.  `source` and `target` may hold wildcards; `at` is the part after `@`."""

    name: str
    source: str
    target: str
    verdict: Literal["allowed", "denied", "absent"]  # absent: there is no such address (pending)
    line: int
    namespace: str = "default"
    outcomes: frozenset[Outcome] = frozenset()
    backends: Backends = Backends()
    client_seen: tuple[str, ...] = ()
    given: tuple[Fault, ...] = ()
    within_seconds: float = 0.0
    requests: int = 12
    timeout_seconds: float = 2.0


@dataclass(frozen=True, slots=True)
class Spec:
    """A parsed file."""

    name: str
    assertions: tuple[Assertion, ...]


@dataclass(frozen=True, slots=True)
class Target:
    """`svc/web:80@lb`, `pod/default/web:8080`, `10.0.0.1:80`, taken apart; port 0 means every port.

    `node` narrows node ports to one machine: `svc/web:80@nodeport/worker1`.
    """

    kind: Literal["svc", "pod", "address"]
    namespace: str
    name: str
    port: int
    protocol: Literal["TCP", "UDP", ""]
    at: At | None
    node: str = ""


def parse(text: str, name: str) -> Spec:
    """Parse and validate a ReachSpec.  Raises BadFile with every problem."""
    file = located.parse(text, name)
    if not isinstance(file.value, dict):
        raise BadFile(
            name, [located.Problem(1, "", "holds no ReachSpec", f"start with `kind: {KIND}`")]
        )
    body: dict[str, Any] = file.value
    _known(file, (), body, _TOP)
    for key, wanted in (("apiVersion", API_VERSION), ("kind", KIND)):
        if body.get(key) != wanted:
            file.problem((key,), f"is {body.get(key)!r}", f"write `{key}: {wanted}`")
    defaults = _mapping(file, ("defaults",), body.get("defaults", {}))
    _known(file, ("defaults",), defaults, _DEFAULTS)
    listed = body.get("expect")
    if not isinstance(listed, list) or not listed:
        file.problem(("expect",), "holds no assertion", "list at least one {from, to, verdict}")
        listed = []
    found = [_assertion(file, ("expect", i), item, defaults) for i, item in enumerate(listed)]
    if file.problems:
        raise BadFile(name, file.problems)
    return Spec(name, tuple(one for one in found if one is not None))


def parse_target(text: str, namespace: str) -> Target:
    """Take a target apart.  Raises ValueError that says what a target looks like."""
    rest, _, kind = text.partition("@")
    kind, _, node = kind.partition("/")
    at = _at(kind) if kind else None
    if node and at is not At.NODEPORT:
        raise ValueError(f"{text!r}: only @nodeport/NODE names a node")
    head, slash, tail = rest.partition("/")
    if head in ("svc", "service") and slash:
        where, port, protocol = _port(tail)
        space, name = _namespaced(where, namespace)
        return Target("svc", space, name, port, protocol, at, node)
    if head == "pod" and slash:
        where, port, protocol = _port(tail)
        space, name = _namespaced(where, namespace)
        return Target("pod", space, name, port, protocol, At.POD)
    where, port, protocol = _port(text)
    if port and where and "/" not in where:
        return Target("address", "", where, port, protocol, None)
    raise ValueError(f"{text!r} is no target: write svc/NAME[:PORT][@clusterip|nodeport[/NODE]|lb|pod|dns|external], "
                     "pod/[NAMESPACE/]NAME:PORT or ADDRESS:PORT")  # fmt: skip


def _assertion(
    file: Located, where: Where, item: Any, defaults: Mapping[str, Any]
) -> Assertion | None:
    if not isinstance(item, dict):
        file.problem(where, "is not a mapping", "write {from: …, to: …, verdict: allowed}")
        return None
    _known(file, where, item, _ASSERTION)
    merged: dict[str, Any] = {**defaults, **item}
    source, target = (_text(file, (*where, key), item.get(key)) for key in ("from", "to"))
    verdict = item.get("verdict")
    if verdict not in ("allowed", "denied", "absent"):
        file.problem((*where, "verdict"), f"is {verdict!r}", "write allowed, denied or absent")
        return None
    namespace = str(merged.get("namespace", "default"))
    try:
        parse_target(target, namespace)
    except ValueError as error:
        file.problem((*where, "to"), str(error))
    return Assertion(
        name=str(item.get("name") or f"{source} -> {target}"),
        source=source,
        target=target,
        verdict=verdict,
        line=file.line(where),
        namespace=namespace,
        outcomes=_outcomes(file, (*where, "outcome"), item.get("outcome"), verdict),
        backends=_backends(file, (*where, "backends"), item.get("backends")),
        client_seen=_texts(file, (*where, "clientSeen"), item.get("clientSeen")),
        given=_given(file, (*where, "given"), item.get("given")),
        within_seconds=_seconds(file, (*where, "within"), item.get("within", 0)),
        requests=_whole(file, (*where, "requests"), merged.get("requests", 12)),
        timeout_seconds=_seconds(file, (*where, "timeout"), merged.get("timeout", "2s")) or 2.0,
    )


def _outcomes(file: Located, where: Where, value: Any, verdict: str) -> frozenset[Outcome]:
    words = _texts(file, where, value)
    known = {str(one) for one in Outcome if one not in (Outcome.UNKNOWN, Outcome.NOT_APPLICABLE)}
    for word in words:
        if word not in known:
            file.problem(where, f"{word!r} is no outcome", f"one of {', '.join(sorted(known))}")
    if words and verdict != "denied":
        file.problem(where, "belongs to denied", "leave it out, allowed means ok")
    return frozenset(Outcome(word) for word in words if word in known)


def _backends(file: Located, where: Where, value: Any) -> Backends:
    if value is None:
        return Backends()
    if isinstance(value, int) and not isinstance(value, bool):
        return Backends(value, value)
    bounds = _mapping(file, where, value)
    _known(file, where, bounds, ("min", "max"))
    numbers = {key: _whole(file, (*where, key), one) for key, one in bounds.items()}
    return Backends(numbers.get("min", 0), numbers.get("max", 0))


def _given(file: Located, where: Where, value: Any) -> tuple[Fault, ...]:
    if value is None:
        return ()
    faults = _mapping(file, where, value)
    _known(file, where, faults, _GIVEN)
    found: list[Fault] = []
    for action in _GIVEN:
        for machine in _texts(file, (*where, action), faults.get(action)):
            found.append(Fault(action, machine.partition("/")[2] or machine))  # type: ignore[arg-type]
    return tuple(found)


def _known(file: Located, where: Where, value: Mapping[str, Any], names: tuple[str, ...]) -> None:
    for key in value:
        if key not in names:
            file.problem((*where, key), "is not a known field", f"known: {', '.join(names)}")


def _mapping(file: Located, where: Where, value: Any) -> dict[str, Any]:
    if isinstance(value, dict):
        return value
    file.problem(where, f"is {value!r}, not a mapping")
    return {}


def _text(file: Located, where: Where, value: Any) -> str:
    if isinstance(value, str) and value:
        return value
    file.problem(where, "is missing" if value is None else f"is {value!r}, not text")
    return ""


def _texts(file: Located, where: Where, value: Any) -> tuple[str, ...]:
    if value is None:
        return ()
    listed = value if isinstance(value, list) else [value]
    for one in listed:
        if not isinstance(one, str):
            file.problem(where, f"{one!r} is not text")
    return tuple(one for one in listed if isinstance(one, str))


def _whole(file: Located, where: Where, value: Any) -> int:
    if isinstance(value, int) and not isinstance(value, bool) and 0 < value <= 10_000:
        return value
    file.problem(where, f"is {value!r}", "a whole number from 1 to 10000")
    return 1


def _seconds(file: Located, where: Where, value: Any) -> float:
    try:
        return times.parse_duration(value) if isinstance(value, str) else float(value)
    except (ValueError, TypeError):
        file.problem(where, f"{value!r} is no duration", "for example 500ms, 2s, 1m")
        return 0.0


def _port(text: str) -> tuple[str, int, Literal["TCP", "UDP", ""]]:
    where, colon, tail = text.rpartition(":")
    if not colon:
        return text, 0, ""
    number, _, word = tail.partition("/")
    protocol = word.upper() or ""
    if not number.isdigit() or protocol not in ("", "TCP", "UDP") or not 0 < int(number) < 65536:
        raise ValueError(f"{tail!r} is no port: a number from 1 to 65535, then /tcp or /udp")
    return where, int(number), protocol  # type: ignore[return-value]


def _namespaced(text: str, namespace: str) -> tuple[str, str]:
    space, slash, name = text.partition("/")
    return (space, name) if slash else (namespace, text)


def _at(word: str) -> At:
    try:
        return At(word.lower())
    except ValueError:
        known = ", ".join(str(one) for one in At)
        raise ValueError(f"@{word} is no kind of address: one of {known}") from None
