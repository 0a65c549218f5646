"""Validation of Ingresses and IngressClasses (pkg/apis/networking/validation)."""

from __future__ import annotations

from collections.abc import Sequence

from todoku.api.errors import (
    FieldError,
    Path,
    forbidden,
    invalid,
    not_supported,
    required,
    too_long,
)
from todoku.api.formats import domain_prefixed_path, each, wildcard_subdomain_problems
from todoku.api.internals import or_null
from todoku.api.meta import Object
from todoku.api.validation import (
    dns1123_label,
    dns1123_subdomain,
    immutable,
    is_address,
    path_segment,
    port_name_problems,
    port_number,
)

CLASS_ANNOTATION = "kubernetes.io/ingress.class"
_SPEC = Path("spec")
_PATH_TYPES = ("Exact", "ImplementationSpecific", "Prefix")
_BAD_SEQUENCES = ("//", "/./", "/../", "%2f", "%2F")
_BAD_SUFFIXES = ("/..", "/.")
_MAX_CONTROLLER_BYTES = 250
_IS_ADDRESS = "must be a DNS name, not an IP address"


def ingress_problems(new: Object, old: Object | None) -> list[FieldError]:
    spec = new.get("spec") or {}
    rules, default = spec.get("rules"), spec.get("defaultBackend")
    problems: list[FieldError] = []
    if not rules and default is None:
        text = "either `defaultBackend` or `rules` must be specified"
        problems.append(invalid(_SPEC, or_null(rules), text))
    if default is not None:
        problems += _backend(default, _SPEC / "defaultBackend")
    for index, rule in enumerate(rules or ()):
        problems += _rule(rule, _SPEC / "rules" / index)
    for index, one in enumerate(spec.get("tls") or ()):
        problems += _tls(one, _SPEC / "tls" / index)
    name = spec.get("ingressClassName")
    if name is not None:
        problems += each(dns1123_subdomain, name, _SPEC / "ingressClassName")
    return problems if old is not None else problems + _class_twice(new, name)


def _class_twice(new: Object, name: str | None) -> list[FieldError]:
    noted = (new["metadata"].get("annotations") or {}).get(CLASS_ANNOTATION)
    if noted is None or name is None or noted == name:
        return []
    text = "must match `ingressClassName` when both are specified"
    return [invalid(Path("annotations") / CLASS_ANNOTATION, noted, text)]


def status_problems(new: Object, old: Object) -> list[FieldError]:
    path = Path("status") / "loadBalancer" / "ingress"
    problems: list[FieldError] = []
    found = ((new.get("status") or {}).get("loadBalancer") or {}).get("ingress") or ()
    for index, one in enumerate(found):
        address, host = one.get("ip") or "", one.get("hostname") or ""
        if address and not is_address(address):
            text = "must be a valid IP address, (e.g. 10.9.8.7 or 2001:db8::ffff)"
            problems.append(invalid(path / index / "ip", address, text))
        if host:
            problems += each(dns1123_subdomain, host, path / index / "hostname")
            if is_address(host):
                problems.append(invalid(path / index / "hostname", host, _IS_ADDRESS))
    return problems


def warnings(new: Object, old: Object | None) -> list[str]:
    noted = CLASS_ANNOTATION in (new["metadata"].get("annotations") or {})
    if old is not None or not noted or (new.get("spec") or {}).get("ingressClassName") is not None:
        return []
    return [
        f"annotation \"{CLASS_ANNOTATION}\" is deprecated, please use 'spec.ingressClassName' instead"
    ]


def _host(host: str, at: Path) -> list[FieldError]:
    return each(wildcard_subdomain_problems if "*" in host else dns1123_subdomain, host, at)


def _tls(one: Object, at: Path) -> list[FieldError]:
    problems: list[FieldError] = []
    for number, host in enumerate(one.get("hosts") or ()):
        problems += _host(host, at / "hosts" / number)
    if one.get("secretName"):
        problems += each(dns1123_subdomain, one["secretName"], at / "secretName")
    return problems


def _rule(rule: Object, at: Path) -> list[FieldError]:
    problems: list[FieldError] = []
    if host := rule.get("host"):
        if is_address(host):
            problems.append(invalid(at / "host", host, _IS_ADDRESS))
        problems += _host(host, at / "host")
    if rule.get("http") is None:
        return problems
    paths: Sequence[Object] = rule["http"].get("paths") or ()
    if not paths:
        problems.append(required(at / "http" / "paths"))
    for index, one in enumerate(paths):
        problems += _path(one, at / "http" / "paths" / index)
    return problems


def _path(one: Object, at: Path) -> list[FieldError]:
    kind, path, where = one.get("pathType"), one.get("path") or "", at / "path"
    problems: list[FieldError] = []
    if kind is None:
        return [required(at / "pathType", "pathType must be specified")]
    if kind not in _PATH_TYPES:
        problems.append(not_supported(at / "pathType", kind, _PATH_TYPES))
    elif (path or kind != "ImplementationSpecific") and not path.startswith("/"):
        problems.append(invalid(where, path, "must be an absolute path"))
    if kind in ("Exact", "Prefix"):
        texts = [f"must not contain '{part}'" for part in _BAD_SEQUENCES if part in path]
        texts += [f"cannot end with '{part}'" for part in _BAD_SUFFIXES if path.endswith(part)]
        problems += [invalid(where, path, text) for text in texts]
    return problems + _backend(one.get("backend") or {}, at / "backend")


def _backend(backend: Object, at: Path) -> list[FieldError]:
    service, resource = backend.get("service"), backend.get("resource")
    if service is not None and resource is not None:
        return [invalid(at, "", "cannot set both resource and service backends")]
    if resource is not None:
        return _reference(resource, at / "resource")
    if service is None:
        return [invalid(at, "", "resource or service backend is required")]
    name, port = service.get("name") or "", service.get("port") or {}
    if name:
        problems = each(dns1123_label, name, at / "service" / "name")
    else:
        problems = [required(at / "service" / "name")]
    if port.get("name") and port.get("number"):
        problems.append(invalid(at, "", "cannot set both port name & port number"))
    elif port.get("name"):
        problems += each(port_name_problems, port["name"], at / "service" / "port" / "name")
    elif port.get("number"):
        problems += port_number(port["number"], at / "service" / "port" / "number")
    else:
        problems.append(required(at, "port name or number is required"))
    return problems


def _reference(reference: Object, at: Path) -> list[FieldError]:
    """TypedLocalObjectReference."""
    problems: list[FieldError] = []
    if reference.get("apiGroup") is not None:
        problems += each(dns1123_subdomain, reference["apiGroup"], at / "apiGroup")
    for field in ("kind", "name"):
        value = reference.get(field) or ""
        if value:
            problems += each(path_segment, value, at / field)
        else:
            problems.append(required(at / field))
    return problems


def class_problems(new: Object, old: Object | None) -> list[FieldError]:
    spec, at = new.get("spec") or {}, _SPEC / "controller"
    controller = spec.get("controller") or ""
    problems: list[FieldError] = []
    if old is not None:
        problems += immutable(controller, (old.get("spec") or {}).get("controller"), at)
    if len(controller) > _MAX_CONTROLLER_BYTES:
        problems.append(too_long(at, _MAX_CONTROLLER_BYTES))
    problems += domain_prefixed_path(controller, at)
    if spec.get("parameters") is not None:
        problems += _parameters(spec["parameters"], _SPEC / "parameters")
    return problems


def _parameters(parameters: Object, at: Path) -> list[FieldError]:
    problems = _reference(parameters, at)
    scope, namespace = parameters.get("scope"), parameters.get("namespace")
    if scope is None:
        problems.append(required(at / "scope"))
    elif scope not in ("Cluster", "Namespace"):
        problems.append(not_supported(at / "scope", scope, ("Cluster", "Namespace")))
    elif scope == "Cluster":
        if namespace is not None:
            text = "`parameters.scope` is set to 'Cluster'"
            problems.append(forbidden(at / "namespace", text))
    elif namespace is None:
        text = "`parameters.scope` is set to 'Namespace'"
        problems.append(required(at / "namespace", text))
    else:
        problems += each(dns1123_label, namespace, at / "namespace")
    return problems
