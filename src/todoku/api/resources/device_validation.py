"""What claims, classes and slices of resource.k8s.io share in validation (pkg/apis/resource/validation)."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from todoku.api.cel import CelError, compile_expression
from todoku.api.errors import (
    FieldError,
    Path,
    duplicate,
    invalid,
    not_supported,
    required,
    too_long,
    too_many,
)
from todoku.api.formats import c_identifier_problems, driver_name, each, label_name
from todoku.api.meta import Object
from todoku.api.validation import (
    dns1123_label,
    dns1123_subdomain,
    label_value_problems,
    repeats,
)

Rule = Callable[[Any, Path], list[FieldError]]

_MAX_SELECTORS, _MAX_EXPRESSION_BYTES = 32, 10 * 1024
MAX_CONFIGS, _MAX_PARAMETERS_BYTES = 32, 10 * 1024
_MAX_POOL_BYTES, _MAX_ID_BYTES, MAX_KEY_BYTES = 253, 32, 63 + 1 + 32
_MAX_CONDITIONS = 4
_UUID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")
_UUID_TEXT = (
    "uid must be in RFC 4122 normalized form, `xxxxxxxx-xxxx-xxxx-xxxx-xxxxxxxxxxxx` with lowercase hexadecimal"
    " characters"
)


def items(values: Sequence[Any], limit: int, rule: Rule, path: Path) -> list[FieldError]:
    """Every item by its rule, then their number; a negative limit allows any."""
    problems = [one for index, value in enumerate(values) for one in rule(value, path / index)]
    if 0 <= limit < len(values):
        problems.append(too_many(path, len(values), limit))
    return problems


def unique_items(
    values: Sequence[Any], limit: int, rule: Rule, path: Path, key: str = ""
) -> list[FieldError]:
    """As `items`; items, or their field `key`, do not repeat."""
    problems = items(values, limit, rule, path)
    keys = [one.get(key) or "" if key else one for one in values]
    repeated = repeats(keys)
    for index, one in enumerate(keys):
        if index in repeated:
            problems.append(duplicate(path / index / key if key else path / index, one))
    return problems


def entries(values: Mapping[str, Any], key_rule: Rule, rule: Rule, path: Path) -> list[FieldError]:
    """Keys and values of a map; long keys are shortened in paths."""
    problems: list[FieldError] = []
    for key, value in values.items():
        at = path.key(_shortened(key))
        problems += key_rule(key, at) + rule(value, at)
    return problems


def _shortened(key: str) -> str:
    if len(key) <= MAX_KEY_BYTES:
        return key
    rest = MAX_KEY_BYTES - 3
    return f"{key[: (rest + 1) // 2]}...{key[len(key) - rest // 2 :]}"


def label(value: str, path: Path) -> list[FieldError]:
    return each(dns1123_label, value, path)


def class_name(value: str, path: Path) -> list[FieldError]:
    return each(dns1123_subdomain, value, path) if value else [required(path)]


def pool_name(value: str, path: Path) -> list[FieldError]:
    """Subdomains separated by slashes."""
    if not value:
        return [required(path)]
    problems = [too_long(path, _MAX_POOL_BYTES)] if len(value) > _MAX_POOL_BYTES else []
    return problems + [one for part in value.split("/") for one in class_part(part, path)]


def class_part(value: str, path: Path) -> list[FieldError]:
    return each(dns1123_subdomain, value, path)


def share_id(value: str, path: Path) -> list[FieldError]:
    return [] if _UUID.fullmatch(value) else [invalid(path, value, _UUID_TEXT)]


def qualified_name(name: str, path: Path) -> list[FieldError]:
    """`domain/identifier`, or an identifier alone."""
    if not name:
        return [required(path, "name required")]
    domain, slash, identifier = name.partition("/")
    if not slash:
        return _identifier(domain, path)
    if "/" in identifier:
        return []  # as upstream
    problems = driver_name(domain, path) if domain else _missing(path, "domain")
    return problems + (_identifier(identifier, path) if identifier else _missing(path, "name"))


def _missing(path: Path, word: str) -> list[FieldError]:
    return [required(path, f"the {word} must not be empty")]


def fully_qualified_name(name: str, path: Path) -> list[FieldError]:
    problems = qualified_name(name, path)
    if name and "/" not in name:
        problems.append(invalid(path, name, "must include a domain"))
    return problems


def _identifier(value: str, path: Path) -> list[FieldError]:
    problems = [too_long(path, _MAX_ID_BYTES)] if len(value) > _MAX_ID_BYTES else []
    return problems + each(c_identifier_problems, value, path)


def selectors(found: Sequence[Object], path: Path) -> list[FieldError]:
    return items(found, _MAX_SELECTORS, _selector, path)


def _selector(selector: Object, at: Path) -> list[FieldError]:
    if selector.get("cel") is None:
        return [required(at / "cel")]
    expression, path = selector["cel"].get("expression") or "", at / "cel" / "expression"
    if len(expression.encode()) > _MAX_EXPRESSION_BYTES:
        return [too_long(path, _MAX_EXPRESSION_BYTES)]
    try:
        compile_expression(expression, ("device",))
    except CelError as error:
        return [invalid(path, expression, str(error))]
    return []


def configuration(config: Object, at: Path) -> list[FieldError]:
    """What a driver is told: opaque parameters."""
    opaque = config.get("opaque")
    if opaque is None:
        return [required(at / "opaque")]
    problems = driver_name(opaque.get("driver") or "", at / "opaque" / "driver")
    return problems + raw_object(opaque.get("parameters"), at / "opaque" / "parameters")


def raw_object(value: Any, path: Path) -> list[FieldError]:
    """A JSON object of bounded size that only a driver understands."""
    if value is None:
        return [required(path)]
    if len(str(value)) > _MAX_PARAMETERS_BYTES:
        return [too_long(path, _MAX_PARAMETERS_BYTES)]
    if not isinstance(value, dict):
        return [invalid(path, "<value omitted>", "must be a valid JSON object")]
    return []


TAINT_EFFECTS = ("NoExecute", "NoSchedule", "None")
_TOLERATED = ("NoExecute", "NoSchedule")


def toleration(one: Object, at: Path) -> list[FieldError]:
    key, value = one.get("key") or "", one.get("value") or ""
    operator, effect = one.get("operator") or "", one.get("effect") or ""
    problems = label_name(key, at / "key") if key else []
    if operator == "Exists":
        if value:
            text = "must be empty for operator `Exists`"
            problems.append(invalid(at / "value", value, text))
    elif operator == "Equal":
        problems += each(label_value_problems, value, at / "value")
    elif not operator:
        problems.append(required(at / "operator"))
    else:
        problems.append(not_supported(at / "operator", operator, ("Equal", "Exists")))
    if effect and effect not in _TOLERATED:
        problems.append(not_supported(at / "effect", effect, _TOLERATED))
    return problems


def binding_conditions(holder: Object, at: Path) -> list[FieldError]:
    """Conditions of success and of failure come together, each once."""
    good = holder.get("bindingConditions") or []
    bad = holder.get("bindingFailureConditions") or []
    where, failing = at / "bindingConditions", at / "bindingFailureConditions"
    problems = items(good, _MAX_CONDITIONS, label_name, where)
    problems += items(bad, _MAX_CONDITIONS, label_name, failing)
    problems += [duplicate(where / i, good[i]) for i in sorted(repeats(good))]
    repeated, known = repeats(bad), frozenset(good)
    for index, one in enumerate(bad):
        if index in repeated:
            problems.append(duplicate(failing / index, one))
        if one in known:
            text = "bindingFailureConditions must not overlap with bindingConditions"
            problems.append(invalid(failing / index, one, text))
    if bad and not good:
        text = "bindingConditions are required to use bindingFailureConditions"
        problems.append(invalid(where, good, text))
    if good and not bad:
        text = "bindingFailureConditions are required to use bindingConditions"
        problems.append(invalid(failing, bad, text))
    return problems
