"""Builds the committed data of `todoku.api`: the definitions and the resource table of Kubernetes v1.36.

Run `python tools/build_schemas.py` with the development packages installed; `tests/api/test_data.py` runs it
again and compares.  Sources: kubernetes-validate (definitions; four mechanical changes to undo),
lightkube-models (plurals, scope, verbs), and the tables below (short names, categories, streaming
subresources), which no package carries.  Output is deterministic.
"""

from __future__ import annotations

import ast
import gzip
import importlib.util
import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

VERSION = "1.36"
OUT = Path(__file__).resolve().parent.parent / "src/todoku/api/data"

QUANTITY = "io.k8s.apimachinery.pkg.api.resource.Quantity"
INT_OR_STRING = "io.k8s.apimachinery.pkg.util.intstr.IntOrString"

# resource -> (short names, categories); kubectl's spelling.
NAMES: dict[str, tuple[str, str]] = {
    "componentstatuses": ("cs", ""),
    "configmaps": ("cm", ""),
    "endpoints": ("ep", ""),
    "events": ("ev", ""),
    "limitranges": ("limits", ""),
    "namespaces": ("ns", ""),
    "nodes": ("no", ""),
    "persistentvolumeclaims": ("pvc", ""),
    "persistentvolumes": ("pv", ""),
    "pods": ("po", "all"),
    "replicationcontrollers": ("rc", "all"),
    "resourcequotas": ("quota", ""),
    "serviceaccounts": ("sa", ""),
    "services": ("svc", "all"),
    "mutatingadmissionpolicies.admissionregistration.k8s.io": ("", "api-extensions"),
    "mutatingadmissionpolicybindings.admissionregistration.k8s.io": ("", "api-extensions"),
    "mutatingwebhookconfigurations.admissionregistration.k8s.io": ("", "api-extensions"),
    "validatingadmissionpolicies.admissionregistration.k8s.io": ("", "api-extensions"),
    "validatingadmissionpolicybindings.admissionregistration.k8s.io": ("", "api-extensions"),
    "validatingwebhookconfigurations.admissionregistration.k8s.io": ("", "api-extensions"),
    "customresourcedefinitions.apiextensions.k8s.io": ("crd crds", "api-extensions"),
    "apiservices.apiregistration.k8s.io": ("", "api-extensions"),
    "daemonsets.apps": ("ds", "all"),
    "deployments.apps": ("deploy", "all"),
    "replicasets.apps": ("rs", "all"),
    "statefulsets.apps": ("sts", "all"),
    "horizontalpodautoscalers.autoscaling": ("hpa", "all"),
    "cronjobs.batch": ("cj", "all"),
    "jobs.batch": ("", "all"),
    "certificatesigningrequests.certificates.k8s.io": ("csr", ""),
    "events.events.k8s.io": ("ev", ""),
    "ingresses.networking.k8s.io": ("ing", ""),
    "ipaddresses.networking.k8s.io": ("ip", ""),
    "networkpolicies.networking.k8s.io": ("netpol", ""),
    "poddisruptionbudgets.policy": ("pdb", ""),
    "priorityclasses.scheduling.k8s.io": ("pc", ""),
    "storageclasses.storage.k8s.io": ("sc", ""),
    "volumeattributesclasses.storage.k8s.io": ("vac", ""),
}

# What lightkube-models leaves out: (resource, subresource, kind, verbs).
_PROXY = "create delete get patch update"
EXTRA_SUBRESOURCES = (
    ("nodes", "proxy", "v1 NodeProxyOptions", _PROXY),
    ("pods", "attach", "v1 PodAttachOptions", "create get"),
    ("pods", "exec", "v1 PodExecOptions", "create get"),
    ("pods", "portforward", "v1 PodPortForwardOptions", "create get"),
    ("pods", "proxy", "v1 PodProxyOptions", _PROXY),
    ("services", "proxy", "v1 ServiceProxyOptions", _PROXY),
)

VERBS = {"post": "create", "put": "update", "global_list": "list", "global_watch": "watch"}

# Not zero, so not in the package; merge keys need the protocols.
DEFAULTS = {
    ("io.k8s.api.core.v1.ContainerPort", "protocol"): "TCP",
    ("io.k8s.api.core.v1.ServicePort", "protocol"): "TCP",
}


def main() -> None:
    OUT.mkdir(exist_ok=True)
    for name, content in build().items():
        (OUT / name).write_bytes(content)
        print(f"{name} {len(content)} bytes", file=sys.stderr)


def build() -> dict[str, bytes]:
    """The data files by name."""
    definitions = load_definitions()
    table = resources(definitions)
    packed = json.dumps(definitions, separators=(",", ":"), sort_keys=True).encode()
    return {
        f"schemas-v{VERSION}.json.gz": gzip.compress(packed, 9, mtime=0),
        "resources.json": _lines(table).encode(),
    }


def _lines(table: list[dict[str, Any]]) -> str:
    return "[\n" + ",\n".join(json.dumps(row, sort_keys=True) for row in table) + "\n]\n"


def load_definitions() -> dict[str, Any]:
    """All definitions as upstream's OpenAPI v2 document words them, with refs to `#/definitions/`."""
    folder = _package("kubernetes_validate") / "kubernetes-json-schema" / f"v{VERSION}.0-local"
    raw = json.loads((folder / "_definitions.json").read_bytes())["$defs"]
    definitions = {name: restore(schema, top=True) for name, schema in raw.items()}
    definitions[QUANTITY] = {"description": raw[QUANTITY].get("description", ""), "type": "string"}
    definitions[INT_OR_STRING] = {
        "description": "IntOrString is a type that can hold an int32 or a string.",
        "format": "int-or-string",
        "type": "string",
    }
    if not definitions[QUANTITY]["description"]:
        del definitions[QUANTITY]["description"]
    for (name, field), value in DEFAULTS.items():
        definitions[name]["properties"][field]["default"] = value
    return definitions


def restore(schema: dict[str, Any], *, top: bool = False) -> dict[str, Any]:
    """Undo what the package changed: nullable types, refs, and the enums of apiVersion and kind."""
    out: dict[str, Any] = {}
    for key, value in schema.items():
        if key == "type" and isinstance(value, list):
            out[key] = next(one for one in value if one != "null")
        elif key == "$ref":
            out[key] = value.replace("#/$defs/", "#/definitions/")
        elif key == "properties":
            out[key] = {name: restore(child) for name, child in value.items()}
            if top and "x-kubernetes-group-version-kind" in schema:
                for name in ("apiVersion", "kind"):
                    out[key].get(name, {}).pop("enum", None)
        elif key in ("items", "additionalProperties") and isinstance(value, dict):
            out[key] = restore(value)
        elif key in ("oneOf", "anyOf", "allOf"):
            out[key] = [restore(child) for child in value]
        else:
            out[key] = value
    return out


def resources(definitions: dict[str, Any]) -> list[dict[str, Any]]:
    """One row per resource of the released version, sorted as discovery lists them."""
    schemas = _schemas_by_kind(definitions)
    rows: dict[tuple[str, str, str], dict[str, Any]] = {}
    subresources = []
    for info in _lightkube():
        group, version, kind = info["resource"]
        if "action" in info:
            subresources.append(info)
        elif (group, version, kind) in schemas:
            rows[group, version, info["plural"]] = _row(info, schemas[group, version, kind])
    for info in subresources:
        pgroup, pversion, _ = info["parent"]
        row = rows.get((pgroup, pversion, info["plural"]))
        if row is None or (info["action"] == "status" and not _has_status(definitions, row)):
            continue
        row["subresources"][info["action"]] = _subresource(info)
    for plural, name, kind, verbs in EXTRA_SUBRESOURCES:
        rows["", "v1", plural]["subresources"][name] = {"kind": kind, "verbs": verbs}
    for _, row in rows.items():
        row["subresources"] = dict(sorted(row["subresources"].items()))
    return [rows[key] for key in sorted(rows)]


def _row(info: dict[str, Any], schema: str) -> dict[str, Any]:
    group, version, kind = info["resource"]
    dotted = f"{info['plural']}.{group}" if group else info["plural"]
    short, categories = NAMES.get(dotted, ("", ""))
    verbs = {VERBS.get(verb, verb) for verb in info["verbs"]}
    if kind == "ComponentStatus":
        verbs.discard("watch")
    return {
        "group": group,
        "version": version,
        "kind": kind,
        "plural": info["plural"],
        "namespaced": info["namespaced"],
        "schema": schema,
        "verbs": " ".join(sorted(verbs)),
        "short": short,
        "categories": categories,
        "subresources": {},
    }


def _subresource(info: dict[str, Any]) -> dict[str, str]:
    group, version, kind = info["resource"]
    verbs = " ".join(sorted({VERBS.get(verb, verb) for verb in info["verbs"]}))
    own = info["resource"] == info["parent"]
    api_version = f"{group}/{version}" if group else version
    return {"kind": "" if own else f"{api_version} {kind}", "verbs": verbs}


def _has_status(definitions: dict[str, Any], row: dict[str, Any]) -> bool:
    return "status" in definitions[row["schema"]]["properties"]


def _schemas_by_kind(definitions: dict[str, Any]) -> dict[tuple[str, str, str], str]:
    found = {}
    for name, schema in definitions.items():
        kinds = schema.get("x-kubernetes-group-version-kind", [])
        if len(kinds) == 1:
            found[kinds[0]["group"], kinds[0]["version"], kinds[0]["kind"]] = name
    return found


def _lightkube() -> Iterator[dict[str, Any]]:
    """The `ApiInfo` of every class, read from the sources: the package needs a client we do not have."""
    folder = _package("lightkube", "resources")
    for path in sorted(folder.glob("*.py")):
        for node in ast.parse(path.read_text()).body:
            if isinstance(node, ast.ClassDef) and (info := _api_info(node)):
                bases = {getattr(base, "attr", "") for base in node.bases}
                info["namespaced"] = any(base.startswith("Namespaced") for base in bases)
                yield info


def _api_info(node: ast.ClassDef) -> dict[str, Any] | None:
    for statement in node.body:
        if (
            isinstance(statement, ast.Assign)
            and getattr(statement.targets[0], "id", "") == "_api_info"
        ):
            call = statement.value
            assert isinstance(call, ast.Call)
            return {str(kw.arg): _literal(kw.value) for kw in call.keywords}
    return None


def _literal(node: ast.expr) -> Any:
    if isinstance(node, ast.Call):
        return tuple(ast.literal_eval(arg) for arg in node.args)
    return ast.literal_eval(node)


def _package(name: str, *below: str) -> Path:
    spec = importlib.util.find_spec(name)
    if spec is None or not spec.submodule_search_locations:
        sys.exit(f"{name} is not installed: pip install -e '.[dev]'")
    return Path(next(iter(spec.submodule_search_locations)), *below)


if __name__ == "__main__":
    main()
