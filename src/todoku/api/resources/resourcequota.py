"""ResourceQuota (core/v1): which amounts it may limit, and which scopes go with them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from todoku.api import quantities, validation
from todoku.api.errors import FieldError, Path, invalid, required
from todoku.api.meta import Object
from todoku.api.resource import Column, Strategy
from todoku.api.resources.generic import AGE, NAME, clear_status, keep_all_but_status, keep_status
from todoku.api.resources.rules import Rules
from todoku.api.tables import created

_SPEC = Path("spec")

_COUNTED = frozenset(
    {
        "pods", "services", "replicationcontrollers", "resourcequotas", "secrets", "configmaps",
        "persistentvolumeclaims", "services.nodeports", "services.loadbalancers",
    }
)  # fmt: skip
_COMPUTED = frozenset(
    {
        "cpu", "memory", "ephemeral-storage", "requests.cpu", "requests.memory", "requests.storage",
        "requests.ephemeral-storage", "limits.cpu", "limits.memory", "limits.ephemeral-storage",
    }
)  # fmt: skip
_STANDARD = _COUNTED | _COMPUTED
_OF_PODS = frozenset(
    {"pods", "cpu", "memory", "requests.cpu", "requests.memory", "limits.cpu", "limits.memory"}
)
# Which of the standard amounts a scope can narrow down.
_SCOPES = {
    "BestEffort": frozenset({"pods"}),
    "CrossNamespacePodAffinity": _OF_PODS,
    "NotBestEffort": _OF_PODS,
    "NotTerminating": _OF_PODS,
    "PriorityClass": _OF_PODS,
    "Terminating": _OF_PODS,
    "VolumeAttributesClass": frozenset({"persistentvolumeclaims", "requests.storage"}),
}
_OPPOSITES = (("BestEffort", "NotBestEffort"), ("Terminating", "NotTerminating"))
_ONLY_EXISTS = frozenset(_SCOPES) - {"PriorityClass", "VolumeAttributesClass"}


def _default(obj: Object) -> None:
    hard = obj.setdefault("spec", {}).get("hard")
    for name, amount in (hard or {}).items():
        if quantities.is_quantity(amount):
            hard[name] = quantities.canonical(amount)


def _validate(new: Object, old: Object | None) -> list[FieldError]:
    spec = new.get("spec") or {}
    hard = spec.get("hard") or {}
    problems = _amounts(hard, _SPEC / "hard")
    problems += _scope_problems(spec.get("scopes") or (), hard)
    problems += _selector_problems(spec.get("scopeSelector") or {}, hard)
    if old is not None:
        before = set((old.get("spec") or {}).get("scopes") or ())
        if before != set(spec.get("scopes") or ()):
            text = "field is immutable"
            problems.append(invalid(_SPEC / "scopes", list(spec.get("scopes") or ()), text))
    return problems


def _validate_status(new: Object, old: Object) -> list[FieldError]:
    status, at = new.get("status") or {}, Path("status")
    return [
        *_amounts(status.get("hard") or {}, at / "hard"),
        *_amounts(status.get("used") or {}, at / "used"),
    ]


# -- scopes


def _scope_problems(scopes: Sequence[str], hard: Iterable[str]) -> list[FieldError]:
    at, shown = _SPEC / "scopes", list(scopes)
    problems: list[FieldError] = []
    # Each quotes all scopes: made once, or many would be more than memory holds.
    unsupported = invalid(at, shown, "unsupported scope")
    foreign = invalid(at, shown, _DOES_NOT_APPLY)
    for scope in scopes:
        if scope not in _SCOPES:
            problems.append(unsupported)
        problems += [foreign for _ in _foreign(scope, hard)]
    return problems + [invalid(at, shown, "conflicting scopes") for _ in _conflicts(scopes)]


_DOES_NOT_APPLY = "unsupported scope applied to resource"


def _foreign(scope: str, hard: Iterable[str]) -> list[str]:
    """The standard amounts that the scope says nothing about."""
    about = _SCOPES.get(scope, _STANDARD)
    return [name for name in sorted(hard) if _is_standard(name) and name not in about]


def _conflicts(scopes: Iterable[str]) -> list[tuple[str, str]]:
    return [pair for pair in _OPPOSITES if set(pair) <= set(scopes)]


def _selector_problems(selector: Object, hard: Iterable[str]) -> list[FieldError]:
    at = _SPEC / "scopeSelector" / "matchExpressions"
    problems: list[FieldError] = []
    rules = selector.get("matchExpressions") or ()
    foreign = invalid(at, selector, _DOES_NOT_APPLY)
    for rule in rules:
        scope = str(rule.get("scopeName", ""))
        if scope not in _SCOPES:
            problems.append(invalid(at / "scopeName", scope, "unsupported scope"))
        problems += [foreign for _ in _foreign(scope, hard)]
        problems += _rule_problems(rule, scope, at)
    scopes = [str(rule.get("scopeName", "")) for rule in rules]
    return problems + [invalid(at, selector, "conflicting scopes") for _ in _conflicts(scopes)]


def _rule_problems(rule: Object, scope: str, at: Path) -> list[FieldError]:
    operator, values = rule.get("operator", ""), rule.get("values") or []
    problems: list[FieldError] = []
    if scope in _ONLY_EXISTS and operator != "Exists":
        text = (
            "must be 'Exist' when scope is any of ResourceQuotaScopeTerminating, "
            "ResourceQuotaScopeNotTerminating, ResourceQuotaScopeBestEffort, "
            "ResourceQuotaScopeNotBestEffort or ResourceQuotaScopeCrossNamespacePodAffinity"
        )
        problems.append(invalid(at / "operator", operator, text))
    if operator in ("In", "NotIn"):
        if not values:
            text = (
                "must be at least one value when `operator` is 'In' or 'NotIn' for scope selector"
            )
            problems.append(required(at / "values", text))
    elif operator in ("Exists", "DoesNotExist"):
        if values:
            text = (
                "must be no value when `operator` is 'Exist' or 'DoesNotExist' for scope selector"
            )
            problems.append(invalid(at / "values", values, text))
    else:
        problems.append(invalid(at / "operator", operator, "not a valid selector operator"))
    return problems


# -- amounts


def _is_standard(name: str) -> bool:
    return name in _STANDARD or name.startswith(("hugepages-", "requests.hugepages-"))


def _amounts(amounts: Object, path: Path) -> list[FieldError]:
    problems: list[FieldError] = []
    for name, amount in amounts.items():
        at = path.key(name)
        problems += [invalid(at, name, text) for text in validation.qualified_name_problems(name)]
        if "/" not in name and not _is_standard(name):
            problems.append(
                invalid(at, name, "must be a standard resource type or fully qualified")
            )
            problems.append(invalid(at, name, "must be a standard resource for quota"))
        problems += _amount_problems(name, amount, at)
    return problems


def _amount_problems(name: str, amount: object, at: Path) -> list[FieldError]:
    try:
        parsed = quantities.parse(amount)  # type: ignore[arg-type]
    except quantities.QuantityError as error:
        return [invalid(at, amount, str(error))]
    problems: list[FieldError] = []
    if parsed < quantities.ZERO:
        problems.append(invalid(at, str(amount), "must be greater than or equal to 0"))
    if name in _COUNTED and parsed.value.denominator != 1:
        problems.append(invalid(at, str(amount), "must be an integer"))
    return problems


def _row(obj: Object) -> list[object]:
    status = obj.get("status") or {}
    hard, used = status.get("hard") or {}, status.get("used") or {}
    asked = [
        f"{name}: {used.get(name, '0')}/{hard[name]}"
        for name in sorted(hard)
        if not name.startswith("limits.")
    ]
    limits = [
        f"{name}: {used.get(name, '0')}/{hard[name]}"
        for name in sorted(hard)
        if name.startswith("limits.")
    ]
    return [obj["metadata"]["name"], ", ".join(asked), ", ".join(limits), created(obj)]


RESOURCE_QUOTA = Rules(
    strategy=Strategy(
        default=_default,
        prepare_create=clear_status,
        prepare_update=keep_status,
        prepare_status=keep_all_but_status,
        validate=_validate,
        validate_status=_validate_status,
        has_generation=False,
        delete_returns_object=True,
    ),
    columns=(
        NAME,
        Column(
            name="Request",
            description="Request represents a minimum amount of cpu/memory that a container may consume.",
        ),
        Column(
            name="Limit",
            description="Limits control the maximum amount of cpu/memory that a container may use independent of contention on the node.",
        ),
        AGE,
    ),
    row=_row,
)
