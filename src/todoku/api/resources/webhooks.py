"""Validating and mutating webhook configurations (admissionregistration.k8s.io/v1)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from urllib.parse import urlsplit

from todoku.api import validation
from todoku.api.errors import FieldError, Path, duplicate, invalid, not_supported, required
from todoku.api.formats import qualified_domain
from todoku.api.meta import Object
from todoku.api.resource import Column, Strategy
from todoku.api.resources.admission_expressions import condition_problems
from todoku.api.resources.generic import AGE, NAME
from todoku.api.resources.rules import Rules
from todoku.api.selectors import selector_problems
from todoku.api.tables import created

OPERATIONS = ("*", "CONNECT", "CREATE", "DELETE", "UPDATE")
_SCOPES = ("*", "Cluster", "Namespaced")
_KNOWN_REVIEWS = ("v1", "v1beta1")


def default_webhooks(obj: Object, *, mutating: bool) -> None:
    for webhook in obj.get("webhooks") or ():
        for field, value in (
            ("failurePolicy", "Fail"),
            ("matchPolicy", "Equivalent"),
            ("timeoutSeconds", 10),
        ):
            if webhook.get(field) is None:
                webhook[field] = value
        for field in ("namespaceSelector", "objectSelector"):
            if webhook.get(field) is None:
                webhook[field] = {}
        if mutating and webhook.get("reinvocationPolicy") is None:
            webhook["reinvocationPolicy"] = "Never"
        service = (webhook.get("clientConfig") or {}).get("service")
        if service is not None and service.get("port") is None:
            service["port"] = 443
        for rule in webhook.get("rules") or ():
            if rule.get("scope") is None:
                rule["scope"] = "*"


def _validate(new: Object, old: Object | None, *, mutating: bool) -> list[FieldError]:
    problems: list[FieldError] = []
    conditions = old is None or _conditions_of(old) != _conditions_of(new)
    names: set[str] = set()
    for index, webhook in enumerate(new.get("webhooks") or ()):
        at = Path("webhooks") / index
        problems += _webhook(webhook, at, mutating=mutating, conditions=conditions)
        name = webhook.get("name") or ""
        if name and name in names:
            problems.append(duplicate(at / "name", name))
        names.add(name)
    return problems


def _conditions_of(configuration: Object) -> list[object]:
    return [one.get("matchConditions") for one in configuration.get("webhooks") or ()]


def _webhook(webhook: Object, at: Path, *, mutating: bool, conditions: bool) -> list[FieldError]:
    problems = qualified_domain(webhook.get("name") or "", at / "name")
    for index, rule in enumerate(webhook.get("rules") or ()):
        problems += rule_problems(rule, at / "rules" / index)
    problems += _choice(webhook, "failurePolicy", ("Fail", "Ignore"), at)
    problems += _choice(webhook, "matchPolicy", ("Equivalent", "Exact"), at)
    effects = webhook.get("sideEffects")
    if effects is None:
        problems.append(required(at / "sideEffects", "must specify one of None, NoneOnDryRun"))
    elif effects not in ("None", "NoneOnDryRun"):
        problems.append(not_supported(at / "sideEffects", effects, ("None", "NoneOnDryRun")))
    timeout = webhook.get("timeoutSeconds")
    if timeout is not None and not 1 <= timeout <= 30:
        text = "the timeout value must be between 1 and 30 seconds"
        problems.append(invalid(at / "timeoutSeconds", timeout, text))
    problems += selector_problems(webhook.get("namespaceSelector"), at / "namespaceSelector")
    problems += selector_problems(webhook.get("objectSelector"), at / "objectSelector")
    if mutating:
        problems += _choice(webhook, "reinvocationPolicy", ("IfNeeded", "Never"), at)
    problems += client_config_problems(webhook.get("clientConfig") or {}, at / "clientConfig")
    if conditions:
        problems += condition_problems(
            webhook.get("matchConditions") or (), at / "matchConditions", params=False
        )
    problems += _versions(
        webhook.get("admissionReviewVersions") or (), at / "admissionReviewVersions"
    )
    return problems


def _choice(holder: Object, field: str, supported: tuple[str, ...], at: Path) -> list[FieldError]:
    value = holder.get(field)
    if value is not None and value not in supported:
        return [not_supported(at / field, value, supported)]
    return []


def rule_problems(
    rule: Object, at: Path, supported: Sequence[str] = OPERATIONS
) -> list[FieldError]:
    """RuleWithOperations."""
    problems: list[FieldError] = []
    operations = rule.get("operations") or []
    if not operations:
        problems.append(required(at / "operations"))
    if "*" in operations and len(operations) > 1:
        text = "if '*' is present, must not specify other operations"
        problems.append(invalid(at / "operations", operations, text))
    problems += [
        not_supported(at / "operations" / index, one, supported)
        for index, one in enumerate(operations)
        if one not in supported
    ]
    for field in ("apiGroups", "apiVersions"):
        values = rule.get(field) or []
        if not values:
            problems.append(required(at / field))
        elif "*" in values and len(values) > 1:
            text = f"if '*' is present, must not specify other {_WORDS[field]}"
            problems.append(invalid(at / field, values, text))
        if field == "apiVersions":
            problems += [required(at / field / i) for i, value in enumerate(values) if not value]
    problems += _resource_problems(rule.get("resources") or [], at / "resources")
    return problems + _choice(rule, "scope", _SCOPES, at)


def _resource_problems(resources: Sequence[str], at: Path) -> list[FieldError]:
    """`pods`, `pods/status`, `pods/*`, `*/status`, `*`, `*/*`: a wildcard stands alone at its place."""
    problems: list[FieldError] = [] if resources else [required(at)]
    all_of, everywhere = set(), set()  # the x of `x/*`, the y of `*/y`
    for index, one in enumerate(resources):
        resource, slash, sub = one.partition("/")
        if not one:
            problems.append(required(at / index))
        if not slash:
            continue
        if resource in all_of:
            text = f"if '{resource}/*' is present, must not specify {one}"
            problems.append(invalid(at / index, one, text))
        if sub in everywhere:
            text = f"if '*/{sub}' is present, must not specify {one}"
            problems.append(invalid(at / index, one, text))
        if sub == "*":
            all_of.add(resource)
        if resource == "*":
            everywhere.add(sub)
    if "*/*" in resources and len(resources) > 1:
        text = "if '*/*' is present, must not specify other resources"
        problems.append(invalid(at, list(resources), text))
    if "*" in resources and sum("/" not in one for one in resources) > 1:
        text = "if '*' is present, must not specify other resources without subresources"
        problems.append(invalid(at, list(resources), text))
    return problems


_WORDS = {"apiGroups": "API groups", "apiVersions": "API versions"}


def client_config_problems(config: Object, at: Path) -> list[FieldError]:
    """Exactly one of url and service (admissionregistration, CRD conversion)."""
    url, service = config.get("url"), config.get("service")
    if (url is None) == (service is None):
        return [required(at, "exactly one of url or service is required")]
    if service is None:
        return _url(str(url), at / "url")
    problems: list[FieldError] = []
    if not service.get("name"):
        problems.append(required(at / "service" / "name", "service name is required"))
    if not service.get("namespace"):
        problems.append(required(at / "service" / "namespace", "service namespace is required"))
    port = service.get("port")
    if port is not None and not 1 <= port <= 65535:
        text = "port is not valid: must be between 1 and 65535, inclusive"
        problems.append(invalid(at / "service" / "port", port, text))
    return problems + _service_path(service.get("path") or "/", at / "service" / "path")


def _service_path(path: str, at: Path) -> list[FieldError]:
    if path == "/":
        return []
    if path == "//":
        return [invalid(at, path, "segment[0] may not be empty")]
    problems: list[FieldError] = []
    if not path.startswith("/"):
        problems.append(invalid(at, path, "must start with a '/'"))
    for index, step in enumerate(path[1:].removesuffix("/").split("/")):
        texts = validation.dns1123_subdomain(step) if step else []
        problems += [invalid(at, path, f"segment[{index}]: {text}") for text in texts]
        if not step:
            problems.append(invalid(at, path, f"segment[{index}] may not be empty"))
    return problems


def _url(url: str, at: Path) -> list[FieldError]:
    form = "; desired format: https://host[/path]"
    try:
        parts = urlsplit(url)
    except ValueError as error:
        return [required(at, f"url must be a valid URL: {error}{form}")]
    problems: list[FieldError] = []
    if parts.scheme != "https":
        problems.append(invalid(at, parts.scheme, f"'https' is the only allowed URL scheme{form}"))
    if not parts.hostname:
        problems.append(invalid(at, parts.netloc, f"host must be specified{form}"))
    if parts.username is not None:
        problems.append(invalid(at, parts.username, "user information is not permitted in the URL"))
    if parts.fragment:
        problems.append(invalid(at, parts.fragment, "fragments are not permitted in the URL"))
    if parts.query:
        problems.append(invalid(at, parts.query, "query parameters are not permitted in the URL"))
    return problems


def _versions(versions: Sequence[str], at: Path) -> list[FieldError]:
    if not versions:
        text = f"must specify one of {', '.join(_KNOWN_REVIEWS)}"
        return [required(at, text)]
    problems: list[FieldError] = []
    repeated = validation.repeats(versions)
    for index, version in enumerate(versions):
        if index in repeated:
            problems.append(invalid(at / index, version, "duplicate version"))
        else:
            problems += [
                invalid(at / index, version, text) for text in validation.dns1035_label(version)
            ]
    if not any(one in _KNOWN_REVIEWS for one in versions):
        text = f"must include at least one of {', '.join(_KNOWN_REVIEWS)}"
        problems.append(invalid(at, list(versions), text))
    return problems


def _rules(*, mutating: bool) -> Rules:
    default: Callable[[Object], None] = lambda obj: default_webhooks(obj, mutating=mutating)  # noqa: E731
    return Rules(
        strategy=Strategy(
            default=default,
            validate=lambda new, old: _validate(new, old, mutating=mutating),
            compiles=True,
            has_status=False,
        ),
        columns=(
            NAME,
            Column(
                name="Webhooks",
                type="integer",
                description="Webhooks indicates the number of webhooks registered in this configuration",
            ),
            AGE,
        ),
        row=lambda obj: [obj["metadata"]["name"], len(obj.get("webhooks") or ()), created(obj)],
    )


VALIDATING = _rules(mutating=False)
MUTATING = _rules(mutating=True)
