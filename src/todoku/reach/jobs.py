"""Asking from inside a cluster that is not a lab: one Job per source, its plan in its arguments, answers in its log.

No exec, no Service, no listener, and nothing that outlives the run: `activeDeadlineSeconds` and
`ttlSecondsAfterFinished` remove everything even if this process is killed.  Pure: manifests out, log lines in.
API: batch/v1 Job, Pod Security Standards "restricted".
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import yaml

from todoku.api.meta import Object
from todoku.reach.outcome import Outcome
from todoku.reach.probe import Attempt
from todoku.reach.targets import Address, Source

RUN_LABEL = "todoku.dev/reach-run"
SOURCE_LABEL = "todoku.dev/reach-source"
DEFAULT_IMAGE = "registry.k8s.io/e2e-test-images/agnhost:2.53"
_MARK = "todoku-reach"
_TTL_SECONDS = 60

# Every line of the plan is "INDEX PROTOCOL HOST PORT"; every answer "todoku-reach INDEX WORDS".  agnhost says the
# outcome in a word; busybox's nc in a sentence of strerror(3), and it has no UDP.  An nc that the outer `timeout` ends
# was connected: its own -w bounds the connecting.
_SCRIPT = r"""
ask() {
  if [ -x /agnhost ]; then
    said=$(/agnhost connect --protocol="$2" --timeout="${SECONDS_EACH}s" "$3:$4" 2>&1) && said=OK
  elif [ "$2" = udp ]; then
    said='no tool for udp'
  else
    said=$(timeout "$((SECONDS_EACH + 1))" nc -w "$SECONDS_EACH" "$3" "$4" </dev/null 2>&1 >/dev/null)
    code=$?
    [ "$code" = 0 ] && said=OK
    [ -z "$said" ] && case "$code" in 124|143) said=OK ;; esac
  fi
  printf 'todoku-reach %s %s\n' "$1" "$(printf %s "$said" | tr '\n' ' ')"
}
round=0
while [ "$round" -lt "$ROUNDS" ]; do
  printf '%s\n' "$PLAN" | {
    running=0
    while read -r index protocol host port; do
      ask "$index" "$protocol" "$host" "$port" &
      running=$((running + 1))
      [ "$((running % 32))" = 0 ] && wait
    done
    wait
  }
  round=$((round + 1))
done
echo 'todoku-reach done'
"""

_WORDS = (
    ("refused", Outcome.REFUSED),
    ("timed out", Outcome.TIMEOUT),
    ("timeout", Outcome.TIMEOUT),
    ("no route", Outcome.NO_ROUTE),
    ("unreachable", Outcome.NO_ROUTE),
    ("reset", Outcome.RESET),
    ("bad address", Outcome.DNS),
    ("dns", Outcome.DNS),
)


@dataclass(frozen=True, slots=True)
class Order:
    """How the Jobs are made: where, with which image, how long, and who asked."""

    run: str
    namespace: str
    image: str = DEFAULT_IMAGE
    requests: int = 3
    timeout_seconds: int = 2
    pull_secret: str = ""


def job(order: Order, source: Source, addresses: Sequence[Address], *, number: int = 0) -> Object:
    """The Job that asks every address from one source; `source.machine` is the node it runs on.

    `number` tells the Jobs of one run apart that ask from the same source.
    """
    plan = "\n".join(
        f"{i} {one.protocol.lower()} {one.host} {one.port}"
        for i, one in enumerate(addresses)
        if one.host
    )
    labels = {RUN_LABEL: order.run, SOURCE_LABEL: _label(source.name)}
    return {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": {
            "name": f"reach-{order.run}-{number}-{_label(source.name)}"[:63].rstrip("-."),
            "namespace": order.namespace,
            "labels": labels,
        },
        "spec": {
            "backoffLimit": 0,
            "activeDeadlineSeconds": _deadline(order),
            "ttlSecondsAfterFinished": _TTL_SECONDS,
            "template": {"metadata": {"labels": labels}, "spec": _pod(order, source, plan)},
        },
    }


def _deadline(order: Order) -> int:
    return 60 + (order.requests + 1) * (order.timeout_seconds + 1)


def _pod(order: Order, source: Source, plan: str) -> Object:
    spec: Object = {
        "restartPolicy": "Never",
        "automountServiceAccountToken": False,
        "enableServiceLinks": False,
        "nodeName": source.machine,
        "tolerations": [{"operator": "Exists"}],
        "terminationGracePeriodSeconds": 0,
        "securityContext": {
            "runAsNonRoot": True,
            "runAsUser": 65532,
            "seccompProfile": {"type": "RuntimeDefault"},
        },
        "containers": [
            {
                "name": "reach",
                "image": order.image,
                "imagePullPolicy": "IfNotPresent",
                "command": ["sh", "-c", _SCRIPT],
                "env": [
                    {"name": "PLAN", "value": plan},
                    {"name": "ROUNDS", "value": str(order.requests)},
                    {"name": "SECONDS_EACH", "value": str(order.timeout_seconds)},
                ],
                "resources": {"requests": {"cpu": "10m", "memory": "16Mi"}},
                "securityContext": {
                    "allowPrivilegeEscalation": False,
                    "readOnlyRootFilesystem": True,
                    "capabilities": {"drop": ["ALL"]},
                },
            }
        ],
    }
    if source.kind == "node":
        spec["hostNetwork"] = True
    if order.pull_secret:
        spec["imagePullSecrets"] = [{"name": order.pull_secret}]
    return spec


class _Dumper(yaml.SafeDumper):
    """Scripts as blocks, nothing by reference: for people to read before they allow it."""

    def ignore_aliases(self, data: object) -> bool:
        return True


def _text(dumper: yaml.SafeDumper, text: str) -> yaml.ScalarNode:
    return dumper.represent_scalar(
        "tag:yaml.org,2002:str", text, style="|" if "\n" in text else None
    )


_Dumper.add_representer(str, _text)


def manifests(objects: Iterable[Object]) -> str:
    """Objects as YAML documents."""
    return "".join(
        "---\n" + yaml.dump(one, Dumper=_Dumper, sort_keys=False, width=120) for one in objects
    )


def answers(log: str) -> dict[int, list[Attempt]]:
    """The attempts in a Job's log, by the index of the address; lines of others are passed over."""
    found: dict[int, list[Attempt]] = {}
    for line in log.splitlines():
        words = line.split(None, 2)
        if len(words) >= 2 and words[0] == _MARK and words[1].isdigit():
            said = words[2] if len(words) == 3 else ""
            found.setdefault(int(words[1]), []).append(Attempt(outcome(said), 0.0))
    return found


def finished(log: str) -> bool:
    return f"{_MARK} done" in log


def outcome(said: str) -> Outcome:
    """What a tool's sentence means; an unknown one is `?`, an empty failure of nc is its time-out."""
    lowered = said.strip().lower()
    if not lowered:
        return Outcome.TIMEOUT
    if lowered == "ok":
        return Outcome.OK
    return next((word for text, word in _WORDS if text in lowered), Outcome.UNKNOWN)


def needed_access(namespace: str) -> list[tuple[str, str, str, str]]:
    """(verb, group, resource, namespace) of everything a run does; "" as namespace means all."""
    read = [("list", "", one, "") for one in ("services", "nodes", "pods", "namespaces")]
    read.append(("list", "discovery.k8s.io", "endpointslices", ""))
    jobs = [(verb, "batch", "jobs", namespace) for verb in ("create", "get", "list", "delete")]
    logs = [("list", "", "pods", namespace), ("get", "", "pods/log", namespace)]
    return [*read, *jobs, *logs]


def role(
    missing: Iterable[tuple[str, str, str, str]], *, name: str = "todoku-reach"
) -> list[Object]:
    """Roles that grant exactly what is missing, ready to apply."""
    by_namespace: dict[str, list[tuple[str, str, str]]] = {}
    for verb, group, resource, namespace in missing:
        by_namespace.setdefault(namespace, []).append((group, resource, verb))
    return [_role(name, namespace, entries) for namespace, entries in by_namespace.items()]


def _role(name: str, namespace: str, entries: Sequence[tuple[str, str, str]]) -> Object:
    verbs: dict[tuple[str, str], list[str]] = {}
    for group, resource, verb in entries:
        verbs.setdefault((group, resource), []).append(verb)
    metadata: Mapping[str, str] = {"name": name} | ({"namespace": namespace} if namespace else {})
    return {
        "apiVersion": "rbac.authorization.k8s.io/v1",
        "kind": "Role" if namespace else "ClusterRole",
        "metadata": dict(metadata),
        "rules": [
            {"apiGroups": [group], "resources": [resource], "verbs": allowed}
            for (group, resource), allowed in verbs.items()
        ],
    }


def _label(name: str) -> str:
    """A source's name as a label value and a part of an object's name."""
    return "".join(c if c.isalnum() or c == "-" else "-" for c in name.lower()).strip("-")[:40]
