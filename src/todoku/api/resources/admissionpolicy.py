"""Validating and mutating admission policies and their bindings (admissionregistration.k8s.io/v1).

Expressions are compiled by the server's admission, which knows their variables.
"""

from __future__ import annotations

from collections.abc import Sequence

from todoku.api import validation
from todoku.api.errors import FieldError, Path, duplicate, invalid, not_supported, required
from todoku.api.meta import Object
from todoku.api.resource import Column, Strategy
from todoku.api.resources.generic import AGE, NAME, clear_status, keep_all_but_status, keep_status
from todoku.api.resources.rules import Rules
from todoku.api.resources.webhooks import rule_problems
from todoku.api.selectors import selector_problems
from todoku.api.tables import created

_SPEC = Path("spec")
_ACTIONS = ("Audit", "Deny", "Warn")
_REASONS = ("Forbidden", "Invalid", "RequestEntityTooLarge", "Unauthorized")


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


def _match_problems(match: Object, at: Path, *, rules_needed: bool) -> list[FieldError]:
    problems: list[FieldError] = []
    rules = match.get("resourceRules") or ()
    if rules_needed and not rules:
        problems.append(required(at / "resourceRules"))
    for field in ("resourceRules", "excludeResourceRules"):
        for index, rule in enumerate(match.get(field) or ()):
            problems += rule_problems(rule, at / field / index)
    policy = match.get("matchPolicy")
    if policy not in (None, "Equivalent", "Exact"):
        problems.append(not_supported(at / "matchPolicy", policy, ("Equivalent", "Exact")))
    for field in ("namespaceSelector", "objectSelector"):
        problems += selector_problems(match.get(field), at / field)
    return problems


def _param_kind_problems(kind: Object | None, at: Path) -> list[FieldError]:
    if kind is None:
        return []
    problems: list[FieldError] = []
    version = kind.get("apiVersion") or ""
    if not version:
        problems.append(required(at / "apiVersion"))
    else:
        plain = version.rpartition("/")[2]
        problems += [
            invalid(at / "apiVersion", version, text) for text in validation.dns1035_label(plain)
        ]
    if not kind.get("kind"):
        problems.append(required(at / "kind"))
    return problems


def _variable_problems(variables: Sequence[Object], at: Path) -> list[FieldError]:
    problems: list[FieldError] = []
    seen: set[str] = set()
    for index, one in enumerate(variables):
        name = one.get("name") or ""
        if not name:
            problems.append(required(at / index / "name", "name is not specified"))
        elif not name.isidentifier():
            problems.append(
                invalid(at / index / "name", name, "name is not a valid CEL identifier")
            )
        elif name in seen:
            problems.append(duplicate(at / index / "name", name))
        seen.add(name)
        if not (one.get("expression") or "").strip():
            problems.append(required(at / index / "expression", "expression is not specified"))
    return problems


def _common(spec: Object) -> list[FieldError]:
    problems: list[FieldError] = []
    failure = spec.get("failurePolicy")
    if failure not in ("Fail", "Ignore"):
        problems.append(not_supported(_SPEC / "failurePolicy", failure, ("Fail", "Ignore")))
    problems += _param_kind_problems(spec.get("paramKind"), _SPEC / "paramKind")
    match = spec.get("matchConstraints")
    if match is None:
        problems.append(required(_SPEC / "matchConstraints"))
    else:
        problems += _match_problems(match, _SPEC / "matchConstraints", rules_needed=True)
    return problems + _variable_problems(spec.get("variables") or (), _SPEC / "variables")


def _validate_policy(new: Object, old: Object | None) -> list[FieldError]:
    spec = new.get("spec") or {}
    problems = _common(spec)
    validations, audits = spec.get("validations") or (), spec.get("auditAnnotations") or ()
    if not validations and not audits:
        text = "validations or auditAnnotations must contain at least one item"
        problems += [
            required(_SPEC / "validations", text),
            required(_SPEC / "auditAnnotations", text),
        ]
    for index, one in enumerate(validations):
        at = _SPEC / "validations" / index
        expression = one.get("expression") or ""
        if not expression.strip():
            problems.append(required(at / "expression", "expression is not specified"))
        message = one.get("message")
        if message is not None and not message.strip():
            problems.append(
                invalid(at / "message", message, "message must be non-empty if specified")
            )
        elif message and "\n" in message.strip():
            problems.append(
                invalid(at / "message", message, "message must not contain line breaks")
            )
        elif "\n" in expression.strip() and not message:
            problems.append(
                required(
                    at / "message", "message must be specified if expression contains line breaks"
                )
            )
        reason = one.get("reason")
        if reason is not None and reason not in _REASONS:
            problems.append(not_supported(at / "reason", reason, _REASONS))
    for index, one in enumerate(audits):
        at = _SPEC / "auditAnnotations" / index
        if not one.get("key"):
            problems.append(required(at / "key"))
        if not (one.get("valueExpression") or "").strip():
            problems.append(required(at / "valueExpression"))
    return problems


def _validate_mutating(new: Object, old: Object | None) -> list[FieldError]:
    spec = new.get("spec") or {}
    problems = _common(spec)
    if spec.get("reinvocationPolicy") not in ("IfNeeded", "Never"):
        policy = spec.get("reinvocationPolicy")
        problems.append(not_supported(_SPEC / "reinvocationPolicy", policy, ("IfNeeded", "Never")))
    mutations = spec.get("mutations") or ()
    if not mutations:
        problems.append(required(_SPEC / "mutations", "mutations must contain at least one item"))
    for index, one in enumerate(mutations):
        at, kind = _SPEC / "mutations" / index, one.get("patchType") or ""
        fields = {"ApplyConfiguration": "applyConfiguration", "JSONPatch": "jsonPatch"}
        if kind not in fields:
            problems.append(not_supported(at / "patchType", kind, tuple(fields)))
        elif not ((one.get(fields[kind]) or {}).get("expression") or "").strip():
            problems.append(required(at / fields[kind] / "expression"))
    return problems


def _binding_problems(new: Object, *, actions: bool) -> list[FieldError]:
    spec = new.get("spec") or {}
    problems: list[FieldError] = []
    if not spec.get("policyName"):
        problems.append(required(_SPEC / "policyName"))
    reference = spec.get("paramRef")
    if reference is not None:
        problems += _param_ref_problems(reference, _SPEC / "paramRef")
    if spec.get("matchResources") is not None:
        problems += _match_problems(
            spec["matchResources"], _SPEC / "matchResources", rules_needed=False
        )
    return problems + (_action_problems(spec.get("validationActions") or ()) if actions else [])


def _param_ref_problems(reference: Object, at: Path) -> list[FieldError]:
    problems: list[FieldError] = []
    name, selector = reference.get("name"), reference.get("selector")
    if not name and selector is None:
        problems.append(required(at, "one of name or selector must be specified"))
    elif name and selector is not None:
        problems.append(invalid(at / "name", name, "name and selector are mutually exclusive"))
    action = reference.get("parameterNotFoundAction")
    if action is None:
        problems.append(required(at / "parameterNotFoundAction"))
    elif action not in ("Allow", "Deny"):
        problems.append(not_supported(at / "parameterNotFoundAction", action, ("Deny", "Allow")))
    return problems


def _action_problems(actions: Sequence[str]) -> list[FieldError]:
    at = _SPEC / "validationActions"
    if not actions:
        return [required(at, "at least one validation action is required")]
    problems: list[FieldError] = []
    for index, one in enumerate(actions):
        if one not in _ACTIONS:
            problems.append(not_supported(at / index, one, _ACTIONS))
        if one in actions[:index]:
            problems.append(duplicate(at / index, one))
    if "Deny" in actions and "Warn" in actions:
        text = "must not contain both Deny and Warn (repeating the same validation failure information in the API response and headers serves no purpose)"
        problems.append(invalid(at, list(actions), text))
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
        prepare_create=clear_status,
        prepare_update=keep_status,
        prepare_status=keep_all_but_status,
        validate=_validate_policy,
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
    strategy=Strategy(default=_default_mutating, validate=_validate_mutating, has_status=False),
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
