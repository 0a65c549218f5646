"""What Deployment, ReplicaSet, DaemonSet, StatefulSet and Job share: selector, template, int-or-percent."""

from __future__ import annotations

import re
from typing import Any

from todoku.api.errors import FieldError, Path, invalid, required
from todoku.api.meta import Object
from todoku.api.podspec import TemplateRules, validate_template
from todoku.api.resources.pod_warnings import template_warnings
from todoku.api.selectors import from_selector, selector_problems
from todoku.api.validation import immutable, non_negative

SPEC = Path("spec")
_PERCENT = re.compile(r"[0-9]+%")


def selector_and_template(
    spec: Object, *, rules: TemplateRules, empty_is: str, selector_path: Path = SPEC / "selector"
) -> list[FieldError]:
    """A meta/v1 selector that must match its own template; `empty_is` says what is wrong with an empty one."""
    problems: list[FieldError] = []
    selector = spec.get("selector")
    if selector is None:
        problems.append(required(selector_path))
    else:
        problems += selector_problems(selector, selector_path)
        if not selector.get("matchLabels") and not selector.get("matchExpressions"):
            problems.append(invalid(selector_path, selector, empty_is))
    return problems


def template_problems(
    spec: Object, *, rules: TemplateRules | None, path: Path = SPEC / "template"
) -> list[FieldError]:
    """The template, and that the selector matches its labels."""
    problems: list[FieldError] = []
    template = spec.get("template")
    if template is None:
        return [required(path)]
    selector = spec.get("selector")
    labels = (template.get("metadata") or {}).get("labels")
    if (
        selector
        and from_selector(selector).requirements
        and not from_selector(selector).matches(labels)
    ):
        text = "`selector` does not match template `labels`"
        problems.append(invalid(path / "metadata" / "labels", labels or {}, text))
    problems += validate_template(template, path, rules)
    return problems


def selector_unchanged(new: Object, old: Object) -> list[FieldError]:
    return immutable(new["spec"].get("selector"), old["spec"].get("selector"), SPEC / "selector")


def int_or_percent_problems(value: Any, path: Path) -> list[FieldError]:
    """A number that is not negative, or a percentage."""
    if isinstance(value, str):
        if _PERCENT.fullmatch(value):
            return []
        text = (
            "a valid percent string must be a numeric string followed by an ending '%' (e.g. '1%',  or '93%', "
            "regex used for validation is '[0-9]+%')"
        )
        return [invalid(path, value, text)]
    return non_negative(value, path)


def is_zero(value: Any) -> bool:
    """0 or 0%."""
    return value in (0, "0%") or (
        isinstance(value, str) and re.fullmatch(r"0+%", value) is not None
    )


def above_hundred_percent(value: Any, path: Path) -> list[FieldError]:
    if isinstance(value, str) and _PERCENT.fullmatch(value) and int(value[:-1]) > 100:
        return [invalid(path, value, "must not be greater than 100%")]
    return []


def warnings(new: Object, old: Object | None) -> list[str]:
    """Warnings of the template, when it is new or has changed."""
    template = new["spec"].get("template") or {}
    if old is not None and (old["spec"].get("template") or {}) == template:
        return []
    return template_warnings(template, "spec.template")
