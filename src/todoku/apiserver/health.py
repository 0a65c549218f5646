"""/livez, /readyz and /healthz: single checks, `verbose` and `exclude` as k8s.io/apiserver server/healthz answers them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

PATHS = ("/healthz", "/livez", "/readyz")

# What the server has done before it listens, by the names of upstream's hooks.
_HOOKS = (
    "priority-and-fairness-config-consumer",
    "priority-and-fairness-filter",
    "start-apiextensions-controllers",
    "crd-informer-synced",
    "start-system-namespaces-controller",
    "start-service-ip-repair-controllers",
    "rbac/bootstrap-roles",
    "scheduling/bootstrap-system-priority-classes",
    "priority-and-fairness-config-producer",
    "start-kube-aggregator-informers",
    "apiservice-status-local-available-controller",
    "apiservice-status-remote-available-controller",
    "apiservice-registration-controller",
)


@dataclass(frozen=True, slots=True)
class Probes:
    """Each tells what is wrong, or ""."""

    store: Callable[[], str]
    cache: Callable[[], str]
    started: Callable[[], str]
    stopping: Callable[[], str]


@dataclass(frozen=True, slots=True)
class Page:
    code: int
    text: str


class Health:
    def __init__(self, probes: Probes) -> None:
        hooks = {f"poststarthook/{name}": probes.started for name in _HOOKS}
        live: dict[str, Callable[[], str]] = {
            "ping": _fine,
            "log": _fine,
            "etcd": probes.store,
            **hooks,
            "autoregister-completion": probes.started,
        }
        ready = {
            **live,
            "etcd-readiness": probes.store,
            "informer-sync": probes.cache,
            "shutdown": probes.stopping,
        }
        self._checks: Mapping[str, Mapping[str, Callable[[], str]]] = {
            "healthz": live,
            "livez": live,
            "readyz": ready,
        }

    def paths(self) -> list[str]:
        """Every path that `page` knows."""
        return [
            path
            for name, checks in self._checks.items()
            for path in (f"/{name}", *(f"/{name}/{check}" for check in checks))
        ]

    def page(self, path: str, *, excluded: Sequence[str], verbose: bool) -> Page | None:
        """The answer to a GET, None if there is no such check."""
        name, _, single = path.strip("/").partition("/")
        checks = self._checks.get(name)
        if checks is None:
            return None
        if single:
            return _single(checks.get(single))
        return _all(name, checks, excluded, verbose=verbose)

    def failing(self, name: str) -> dict[str, bool]:
        """Every check of `livez` or `readyz`, and whether it fails."""
        return {one: bool(check()) for one, check in self._checks[name].items()}


def _single(check: Callable[[], str] | None) -> Page | None:
    if check is None:
        return None
    wrong = check()
    return Page(500, f"internal server error: {wrong}\n") if wrong else Page(200, "ok")


def _all(
    name: str, checks: Mapping[str, Callable[[], str]], excluded: Sequence[str], *, verbose: bool
) -> Page:
    lines, failed = [], False
    for one, check in checks.items():
        if one in excluded:
            lines.append(f"[+]{one} excluded: ok")
        elif check():
            failed = True
            lines.append(f"[-]{one} failed: reason withheld")
        else:
            lines.append(f"[+]{one} ok")
    unknown = sorted(set(excluded) - set(checks))
    if unknown:
        quoted = ",".join(f'"{one}"' for one in unknown)
        lines.append(f"warn: some health checks cannot be excluded: no matches for {quoted}")
    if failed:
        return Page(500, "\n".join([*lines, f"{name} check failed"]) + "\n")
    if not verbose:
        return Page(200, "ok")
    return Page(200, "\n".join([*lines, f"{name} check passed"]) + "\n")


def _fine() -> str:
    return ""
