"""Validating and mutating admission policies and their bindings (admissionregistration.k8s.io/v1).

Their expressions are checked by `admission_expressions`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from todoku.api import validation
from todoku.api.errors import (
    FieldError,
    Path,
    duplicate,
    forbidden,
    invalid,
    not_supported,
    required,
)
from todoku.api.meta import Object
from todoku.api.resource import Column, Strategy
from todoku.api.resources.admission_expressions import (
    audit_problems,
    condition_problems,
    mutation_problems,
    validation_problems,
    variable_problems,
)
from todoku.api.resources.generic import (
    AGE,
    NAME,
    clear_status,
    keep_all_but_own_status,
    keep_status,
)
from todoku.api.resources.rules import Rules
from todoku.api.resources.webhooks import OPERATIONS, rule_problems
from todoku.api.selectors import selector_problems
from todoku.api.tables import created

if TYPE_CHECKING:
    from todoku.api.cel.checking import Checker

_SPEC = Path("spec")
_ACTIONS = ("Audit", "Deny", "Warn")
_REASONS = ("Forbidden", "Invalid", "RequestEntityTooLarge")
_MUTATING_OPERATIONS = ("*", "CONNECT", "CREATE", "UPDATE")


def _default_match(match: Object) -> None:
    if match.get("matchPolicy") is None:
        match["matchPolicy"] = "Equivalent"
    for field in ("namespaceSelector", "objectSelector"):
        if match.get(field) is None:
            match[field] = {}
    for field in ("resourceRules", "excludeResourceRules"):
        for rule in match.get(field) or ():
            if rule.get("scope") is None:
                rule["scope"] = "*"


def _default_policy(obj: Object) -> None:
    spec = obj.setdefault("spec", {})
    if spec.get("failurePolicy") is None:
        spec["failurePolicy"] = "Fail"
    if spec.get("matchConstraints") is not None:
        _default_match(spec["matchConstraints"])


def _default_mutating(obj: Object) -> None:
    _default_policy(obj)
    if obj["spec"].get("reinvocationPolicy") is None:
        obj["spec"]["reinvocationPolicy"] = "Never"


def _default_binding(obj: Object) -> None:
    match = obj.setdefault("spec", {}).get("matchResources")
    if match is not None:
        _default_match(match)


def _match_problems(
    match: Object, at: Path, operations: Sequence[str] = OPERATIONS
) -> list[FieldError]:
    problems: list[FieldError] = []
    policy = match.get("matchPolicy")
    if policy is None:
        problems.append(required(at / "matchPolicy"))
    elif policy not in ("Equivalent", "Exact"):
        problems.append(not_supported(at / "matchPolicy", policy, ("Equivalent", "Exact")))
    for field in ("namespaceSelector", "objectSelector"):
        problems += selector_problems(match.get(field), at / field)
    for field in ("resourceRules", "excludeResourceRules"):
        for index, rule in enumerate(match.get(field) or ()):
            problems += _name_problems(rule.get("resourceNames") or (), at / field / index)
            problems += rule_problems(rule, at / field / index, operations)
    return problems


def _name_problems(names: Sequence[str], at: Path) -> list[FieldError]:
    problems: list[FieldError] = []
    repeated = validation.repeats(names)
    for index, name in enumerate(names):
        path = at / "resourceNames" / index
        problems += [invalid(path, name, why) for why in validation.path_segment(name)]
        if index in repeated:
            problems.append(duplicate(path, name))
    return problems


def _param_kind_problems(kind: Object | None, at: Path) -> list[FieldError]:
    if kind is None:
        return []
    problems = _param_version_problems(kind.get("apiVersion") or "", at / "apiVersion")
    name = kind.get("kind") or ""
    if not name:
        problems.append(required(at / "kind"))
    elif why := validation.dns1035_label(name.lower()):
        text = f"may have mixed case, but should otherwise match: {','.join(why)}"
        problems.append(invalid(at / "kind", name, text))
    return problems


def _param_version_problems(version: str, at: Path) -> list[FieldError]:
    if not version:
        return [required(at)]
    if version.count("/") > 1:
        return [invalid(at, version, f"unexpected GroupVersion string: {version}")]
    group, _, plain = version.rpartition("/")
    problems: list[FieldError] = []
    if group and (why := validation.dns1123_subdomain(group)):
        problems.append(invalid(at, group, ",".join(why)))
    if not plain:
        problems.append(invalid(at, version, "version must be specified"))
    elif why := validation.dns1035_label(plain):
        problems.append(invalid(at, plain, ",".join(why)))
    return problems


def _checkers(spec: Object) -> tuple[Checker, Checker]:
    """For expressions, and for those of messages, which have no authorizer."""
    from todoku.api.cel import admission

    params = spec.get("paramKind") is not None
    make = admission.checker if spec.get("variables") else admission.plain_checker
    return make(params=params), make(params=params, authorizer=False)


def _common(
    spec: Object, old: Object | None, operations: Sequence[str] = OPERATIONS
) -> list[FieldError]:
    """What all policies have, but for their variables."""
    problems: list[FieldError] = []
    failure = spec.get("failurePolicy")
    if failure is None:
        problems.append(required(_SPEC / "failurePolicy"))
    elif failure not in ("Fail", "Ignore"):
        problems.append(not_supported(_SPEC / "failurePolicy", failure, ("Fail", "Ignore")))
    problems += _param_kind_problems(spec.get("paramKind"), _SPEC / "paramKind")
    match = spec.get("matchConstraints")
    if match is None:
        problems.append(required(_SPEC / "matchConstraints"))
    else:
        problems += _match_problems(match, _SPEC / "matchConstraints", operations)
        if not match.get("resourceRules"):
            problems.append(required(_SPEC / "matchConstraints" / "resourceRules"))
    if old is None or any(
        old.get(key) != spec.get(key) for key in ("paramKind", "matchConditions")
    ):
        conditions, at = spec.get("matchConditions") or (), _SPEC / "matchConditions"
        problems += condition_problems(conditions, at, params=spec.get("paramKind") is not None)
    return problems


def _validate_policy(new: Object, old: Object | None) -> list[FieldError]:
    spec = new.get("spec") or {}
    problems = _common(spec, old and (old.get("spec") or {}))
    checker, messages = _checkers(spec)
    variables = spec.get("variables") or ()
    problems += variable_problems(variables, _SPEC / "variables", checker)
    variable_problems(variables, _SPEC / "variables", messages)
    validations, audits = spec.get("validations") or (), spec.get("auditAnnotations") or ()
    if not validations and not audits:
        text = "validations or auditAnnotations must contain at least one item"
        return [
            *problems,
            required(_SPEC / "validations", text),
            required(_SPEC / "auditAnnotations", text),
        ]
    for index, one in enumerate(validations):
        at = _SPEC / "validations" / index
        problems += validation_problems(one, at, checker, messages)
        reason = one.get("reason")
        if reason is not None and reason not in _REASONS:
            problems.append(not_supported(at / "reason", reason, _REASONS))
    name = new["metadata"].get("name") or ""
    return problems + audit_problems(audits, _SPEC / "auditAnnotations", name, checker)


def _validate_status(new: Object, old: Object) -> list[FieldError]:
    checking = (new.get("status") or {}).get("typeChecking") or {}
    at = Path("status") / "typeChecking" / "expressionWarnings"
    problems = []
    for index, one in enumerate(checking.get("expressionWarnings") or ()):
        for field in ("warning", "fieldRef"):
            if not (one.get(field) or "").strip():
                problems.append(required(at / index / field))
    return problems


def _validate_mutating(new: Object, old: Object | None) -> list[FieldError]:
    spec = new.get("spec") or {}
    problems = _common(spec, old and (old.get("spec") or {}), _MUTATING_OPERATIONS)
    checker, _ = _checkers(spec)
    problems += variable_problems(spec.get("variables") or (), _SPEC / "variables", checker)
    mutations = spec.get("mutations") or ()
    if not mutations:
        problems.append(required(_SPEC / "mutations", "mutations must contain at least one item"))
    for index, one in enumerate(mutations):
        problems += mutation_problems(one, _SPEC / "mutations" / index, checker)
    policy = spec.get("reinvocationPolicy")
    if not policy:
        problems.append(required(_SPEC / "reinvocationPolicy"))
    elif policy not in ("IfNeeded", "Never"):
        problems.append(not_supported(_SPEC / "reinvocationPolicy", policy, ("IfNeeded", "Never")))
    return problems


def _binding_problems(new: Object, *, actions: bool) -> list[FieldError]:
    spec = new.get("spec") or {}
    problems: list[FieldError] = []
    name = spec.get("policyName")
    if not name:
        problems.append(required(_SPEC / "policyName"))
    else:
        why = validation.dns1123_subdomain(name)
        problems += [invalid(_SPEC / "policyName", name, text) for text in why]
    reference = spec.get("paramRef")
    if reference is not None:
        problems += _param_ref_problems(reference, _SPEC / "paramRef")
    if spec.get("matchResources") is not None:
        # clients know the field by this misspelling
        problems += _match_problems(spec["matchResources"], _SPEC / "matchResouces")
    return problems + (_action_problems(spec.get("validationActions") or ()) if actions else [])


def _param_ref_problems(reference: Object, at: Path) -> list[FieldError]:
    problems: list[FieldError] = []
    name, selector = reference.get("name"), reference.get("selector")
    exclusive = "name and selector are mutually exclusive"
    if name:
        problems += [invalid(at / "name", name, why) for why in validation.path_segment(name)]
        if selector is not None:
            problems.append(forbidden(at / "name", exclusive))
    if selector is not None:
        problems += selector_problems(selector, at / "selector")
        if name:
            problems.append(forbidden(at / "selector", exclusive))
    elif not name:
        problems.append(required(at, "one of name or selector must be specified"))
    action = reference.get("parameterNotFoundAction")
    if not action:
        problems.append(required(at / "parameterNotFoundAction"))
    elif action not in ("Allow", "Deny"):
        problems.append(not_supported(at / "parameterNotFoundAction", action, ("Deny", "Allow")))
    return problems


def _action_problems(actions: Sequence[str]) -> list[FieldError]:
    at = _SPEC / "validationActions"
    problems: list[FieldError] = []
    repeated = validation.repeats(actions)
    for index, one in enumerate(actions):
        if one not in _ACTIONS:
            problems.append(not_supported(at / index, one, _ACTIONS))
        if index in repeated:
            problems.append(duplicate(at / index, one))
    if "Deny" in actions and "Warn" in actions:
        text = "must not contain both Deny and Warn (repeating the same validation failure information in the API response and headers serves no purpose)"
        problems.append(invalid(at, list(actions), text))
    if not actions:
        problems.append(required(at, "at least one validation action is required"))
    return problems


def _param_kind(obj: Object) -> str:
    kind = (obj.get("spec") or {}).get("paramKind")
    return f"{kind.get('apiVersion', '')}/{kind.get('kind', '')}" if kind else "<unset>"


def _policy_columns(word: str, subject: str) -> tuple[Column, ...]:
    return (
        NAME,
        Column(
            name=word,
            type="integer",
            description=f"{subject} indicates the number of {word.lower()} rules defined in this configuration",
        ),
        Column(
            name="ParamKind",
            description="ParamKind specifies the kind of resources used to parameterize this policy",
        ),
        AGE,
    )


VALIDATING_POLICY = Rules(
    strategy=Strategy(
        default=_default_policy,
        compiles=True,
        prepare_create=clear_status,
        prepare_update=keep_status,
        prepare_status=keep_all_but_own_status,
        validate=_validate_policy,
        validate_status=_validate_status,
    ),
    columns=_policy_columns("Validations", "Validations"),
    row=lambda obj: [
        obj["metadata"]["name"],
        len((obj.get("spec") or {}).get("validations") or ()),
        _param_kind(obj),
        created(obj),
    ],
)

MUTATING_POLICY = Rules(
    strategy=Strategy(
        default=_default_mutating, validate=_validate_mutating, compiles=True, has_status=False
    ),
    columns=_policy_columns("Mutations", "Mutation"),
    row=lambda obj: [
        obj["metadata"]["name"],
        len((obj.get("spec") or {}).get("mutations") or ()),
        _param_kind(obj),
        created(obj),
    ],
)


def _selector_text(selector: Object) -> str:
    """A LabelSelector as Go's generated `String` writes it, which is what the real table shows."""
    labels = selector.get("matchLabels") or {}
    pairs = "".join(f"{key}: {labels[key]}," for key in sorted(labels))
    expressions = "".join(
        f"LabelSelectorRequirement{{Key:{one.get('key', '')},Operator:{one.get('operator', '')},"
        f"Values:[{' '.join(one.get('values') or ())}],}},"
        for one in selector.get("matchExpressions") or ()
    )
    return (
        f"&LabelSelector{{MatchLabels:map[string]string{{{pairs}}},"
        f"MatchExpressions:[]LabelSelectorRequirement{{{expressions}}},}}"
    )


def _param_ref(obj: Object) -> str:
    reference = (obj.get("spec") or {}).get("paramRef")
    if not reference:
        return "<unset>"
    if reference.get("name"):
        namespace = reference.get("namespace") or "*"
        return f"{namespace}/{reference['name']}"
    selector = reference.get("selector")
    return _selector_text(selector) if selector is not None else "<unset>"


def _binding(*, actions: bool) -> Rules:
    return Rules(
        strategy=Strategy(
            default=_default_binding,
            validate=lambda new, old: _binding_problems(new, actions=actions),
            has_status=False,
        ),
        columns=(
            NAME,
            Column(
                name="PolicyName",
                description="PolicyName indicates the policy definition which the policy binding binded to",
            ),
            Column(
                name="ParamRef",
                description="ParamRef indicates the param resource which sets the configration param",
            ),
            AGE,
        ),
        row=lambda obj: [
            obj["metadata"]["name"],
            (obj.get("spec") or {}).get("policyName", ""),
            _param_ref(obj),
            created(obj),
        ],
    )


VALIDATING_BINDING = _binding(actions=True)
MUTATING_BINDING = _binding(actions=False)
