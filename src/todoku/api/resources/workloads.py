"""What the kinds with a pod template and a selector share: selector against template, replicas, percent."""

from __future__ import annotations

import re
from typing import Any

from todoku.api.errors import FieldError, Path, invalid, required
from todoku.api.internals import or_null
from todoku.api.meta import Object
from todoku.api.podspec import TemplateRules, validate_template
from todoku.api.resources.pod_warnings import template_warnings
from todoku.api.selectors import from_selector, selector_problems
from todoku.api.validation import dns1123_label, immutable, non_negative

SPEC = Path("spec")
_PERCENT = re.compile(r"[0-9]+%")
_NO_MATCH = "`selector` does not match template `labels`"


def needed_selector(spec: Object, *, empty_is: str) -> list[FieldError]:
    """A meta/v1 selector that must be there; `empty_is` says what is wrong with an empty one."""
    path, selector = SPEC / "selector", spec.get("selector")
    if selector is None:
        return [required(path)]
    problems = selector_problems(selector, path)
    if not selector.get("matchLabels") and not selector.get("matchExpressions"):
        problems.append(invalid(path, selector, empty_is))
    return problems


def labels_mismatch(selector: Object | None, template: Object, path: Path) -> list[FieldError]:
    """A selector must match the labels of its own template; none at all matches nothing."""
    labels = (template.get("metadata") or {}).get("labels")
    if from_selector(selector).matches(labels):
        return []
    return [invalid(path / "metadata" / "labels", or_null(labels), _NO_MATCH)]


def matched_template(
    spec: Object, rules: TemplateRules, *, broken_is: str = "invalid label selector"
) -> list[FieldError]:
    """The template after its selector; a selector that cannot be used hides the template's own problems."""
    selector = spec.get("selector")
    if selector_problems(selector, SPEC / "selector"):
        return [invalid(SPEC / "selector", selector, broken_is)]
    path, template = SPEC / "template", spec.get("template") or {}
    return labels_mismatch(selector, template, path) + validate_template(template, path, rules)


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
    """0, 0% or what is no number at all (as intstr counts it)."""
    if isinstance(value, str):
        digits = value[:-1] if _PERCENT.fullmatch(value) else value
        return int(digits) == 0 if digits.isdecimal() else True
    return not value


def above_hundred_percent(value: Any, path: Path) -> list[FieldError]:
    if isinstance(value, str) and _PERCENT.fullmatch(value) and int(value[:-1]) > 100:
        return [invalid(path, value, "must not be greater than 100%")]
    return []


def count_problems(status: Object, fields: tuple[str, ...]) -> list[FieldError]:
    """Counts of a status are not negative."""
    return [
        one for field in fields for one in non_negative(status.get(field), Path("status") / field)
    ]


def above_replicas(status: Object, fields: tuple[str, ...], *, unready_is: str) -> list[FieldError]:
    """Parts of `replicas` cannot exceed it, nor the available ones the ready ones."""
    path = Path("status")
    problems = [
        invalid(path / field, status.get(field, 0), "cannot be greater than status.replicas")
        for field in fields
        if status.get(field, 0) > status.get("replicas", 0)
    ]
    available = status.get("availableReplicas", 0)
    if available > status.get("readyReplicas", 0):
        problems.append(invalid(path / "availableReplicas", available, unready_is))
    return problems


def collisions_decremented(new: Object, old: Object) -> list[FieldError]:
    before = (old.get("status") or {}).get("collisionCount")
    after = (new.get("status") or {}).get("collisionCount")
    if before is None or (after is not None and after >= before):
        return []
    return [invalid(Path("status") / "collisionCount", after or 0, "cannot be decremented")]


def name_warnings(new: Object) -> list[str]:
    """Pods are named after their workload, and hosts after their pods."""
    problems = dns1123_label(new["metadata"].get("name", ""))
    if not problems:
        return []
    return [
        "metadata.name: this is used in Pod names and hostnames, which can result in surprising behavior;"
        f" a DNS label is recommended: [{' '.join(problems)}]"
    ]


def named_warnings(new: Object, old: Object | None) -> list[str]:
    """Warnings of a new name, and of the template."""
    return (name_warnings(new) if old is None else []) + warnings(new, old)


def warnings(new: Object, old: Object | None) -> list[str]:
    """Warnings of the template, when it is new or has changed."""
    template = new["spec"].get("template") or {}
    if old is not None and (old["spec"].get("template") or {}) == template:
        return []
    return template_warnings(template, "spec.template")
