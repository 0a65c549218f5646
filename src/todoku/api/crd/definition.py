"""The definitions themselves: defaults and validation of a CustomResourceDefinition (apiextensions.k8s.io/v1)."""

from __future__ import annotations

from collections.abc import Sequence
from urllib.parse import urlsplit

from todoku.api import validation
from todoku.api.crd.structural import structural
from todoku.api.crd.versions import version_problems
from todoku.api.errors import FieldError, Path, forbidden, invalid, not_supported, required
from todoku.api.meta import Object
from todoku.api.resources.webhooks import client_config_problems

_SPEC = Path("spec")
APPROVED = "api-approved.kubernetes.io"


def default_definition(crd: Object) -> None:
    spec = crd.setdefault("spec", {})
    names = spec.setdefault("names", {})
    if names.get("kind"):
        if not names.get("singular"):
            names["singular"] = names["kind"].lower()
        if not names.get("listKind"):
            names["listKind"] = f"{names['kind']}List"
    conversion = spec.get("conversion")
    if conversion is None:
        spec["conversion"] = {"strategy": "None"}
    elif ((conversion.get("webhook") or {}).get("clientConfig") or {}).get("service") is not None:
        service = conversion["webhook"]["clientConfig"]["service"]
        if service.get("port") is None:
            service["port"] = 443


def _storage_version(crd: Object) -> list[str]:
    versions = (crd.get("spec") or {}).get("versions") or ()
    return [one["name"] for one in versions if one.get("storage") and one.get("name")]


def prepare_create(crd: Object) -> None:
    crd["status"] = {
        "acceptedNames": {"plural": "", "kind": ""},
        "storedVersions": _storage_version(crd)[:1],
    }


def prepare_update(new: Object, old: Object) -> None:
    status = dict(old.get("status") or {})
    stored = [*(status.get("storedVersions") or ()), *_storage_version(new)]
    new["status"] = {**status, "storedVersions": list(dict.fromkeys(stored))}


def prepare_status(new: Object, old: Object) -> None:
    new["spec"] = old["spec"]


def definition_problems(crd: Object, old: Object | None) -> list[FieldError]:
    """All problems of a definition; with `old`, also of the change.

    Paths are those of upstream's internal form: what all versions have in common stands once, in the spec itself.
    """
    spec = crd.get("spec") or {}
    names = spec.get("names") or {}
    problems: list[FieldError] = []
    wanted = f"{names.get('plural', '')}.{spec.get('group', '')}"
    name = crd["metadata"].get("name", "")
    if name != wanted:
        text = 'must be spec.names.plural+"."+spec.group'
        problems.append(invalid(Path("metadata") / "name", name, text))
    problems += _group(spec)
    problems += _scope(spec)
    problems += version_problems(spec, _unchanged_schemas(crd, old))
    for field in ("plural", "singular", "kind", "listKind"):
        if not names.get(field):
            problems.append(required(_SPEC / "names" / field))
    problems += names_problems(names, _SPEC / "names")
    problems += _conversion(spec, _SPEC / "conversion")
    if old is not None:
        problems += _change(crd, old)
    status = crd.get("status") or {}
    problems += names_problems(status.get("acceptedNames") or {}, Path("status") / "acceptedNames")
    problems += _stored_versions(status, spec)
    problems += _approval(crd, old)
    if spec.get("preserveUnknownFields") and not (old or {"spec": {}})["spec"].get(
        "preserveUnknownFields"
    ):
        text = "cannot set to true, set x-kubernetes-preserve-unknown-fields to true in spec.versions[*].schema instead"
        problems.append(invalid(_SPEC / "preserveUnknownFields", True, text))
    return problems


def examine(crd: Object, old: Object | None) -> None:
    """Work out, without an answer, what validating and serving the definition will ask for."""
    if not definition_problems(crd, old):
        for version in crd["spec"]["versions"]:
            structural(version, preserve=crd["spec"].get("preserveUnknownFields") is True)


def status_problems(crd: Object, old: Object) -> list[FieldError]:
    """Of a change of the status."""
    names = (crd.get("status") or {}).get("acceptedNames") or {}
    return names_problems(names, Path("status") / "acceptedNames")


def _unchanged_schemas(crd: Object, old: Object | None) -> frozenset[str]:
    """The versions whose schema is what it was."""
    if old is None:
        return frozenset()
    before = {one.get("name"): one.get("schema") for one in old["spec"].get("versions") or ()}
    return frozenset(
        one.get("name") or ""
        for one in crd["spec"].get("versions") or ()
        if one.get("name") in before and before[one.get("name")] == one.get("schema")
    )


def _group(spec: Object) -> list[FieldError]:
    group = spec.get("group") or ""
    at = _SPEC / "group"
    if not group:
        return [required(at)]
    found = validation.dns1123_subdomain(group)
    if found:
        return [invalid(at, group, ",".join(found))]
    if "." not in group:
        return [invalid(at, group, "should be a domain with at least one dot")]
    return []


APPROVALS = ("Missing", "Bypassed", "Approved", "Invalid")


def approval(crd: Object) -> tuple[str, str]:
    """Whether a definition of a protected group (*.k8s.io) is approved: one of `APPROVALS`, and why; ("", "") for
    other groups."""
    group = crd["spec"].get("group") or ""
    if not (group in _PROTECTED or group.endswith(tuple(f".{one}" for one in _PROTECTED))):
        return "", ""
    value = (crd["metadata"].get("annotations") or {}).get(APPROVED) or ""
    if not value:
        return "Missing", f'protected groups must have approval annotation "{APPROVED}", {_SEE}'
    if value.startswith("unapproved"):
        return "Bypassed", f'not approved: "{value}"'
    try:
        url = urlsplit(value)
    except ValueError:
        url = urlsplit("")
    if url.scheme and url.netloc:
        return "Approved", f"approved in {value}"
    return "Invalid", (
        f'protected groups must have approval annotation "{APPROVED}" with either a URL or a reason'
        f' starting with "unapproved", {_SEE}'
    )


_PROTECTED = ("k8s.io", "kubernetes.io")
_SEE = "see https://github.com/kubernetes/enhancements/pull/1111"


def _approval(crd: Object, old: Object | None) -> list[FieldError]:
    state, reason = approval(crd)
    if old is not None and approval(old)[0] == state:
        return []
    at = (Path("metadata") / "annotations").key(APPROVED)
    if state == "Missing":
        return [required(at, reason)]
    if state == "Invalid":
        return [invalid(at, crd["metadata"]["annotations"][APPROVED], reason)]
    return []


def _scope(spec: Object) -> list[FieldError]:
    scope = spec.get("scope") or ""
    if not scope:
        return [required(_SPEC / "scope")]
    supported = ("Cluster", "Namespaced")
    return [] if scope in supported else [not_supported(_SPEC / "scope", scope, supported)]


def names_problems(names: Object, at: Path) -> list[FieldError]:
    """Of names that are there."""
    problems: list[FieldError] = []
    for field in ("plural", "singular", "kind", "listKind"):
        value = names.get(field) or ""
        mixed = field in ("kind", "listKind")
        found = validation.dns1035_label(value.lower() if mixed else value) if value else []
        if found:
            prefix = "may have mixed case, but should otherwise match: " if mixed else ""
            problems.append(invalid(at / field, value, prefix + ",".join(found)))
    problems += _labels(names.get("shortNames") or (), at / "shortNames")
    if names.get("kind") and names.get("kind") == names.get("listKind"):
        text = "kind and listKind may not be the same"
        problems.append(invalid(at / "listKind", names["listKind"], text))
    return problems + _labels(names.get("categories") or (), at / "categories")


def _labels(values: Sequence[str], at: Path) -> list[FieldError]:
    found = [(at / index, one, validation.dns1035_label(one)) for index, one in enumerate(values)]
    return [invalid(path, one, ",".join(texts)) for path, one, texts in found if texts]


def _conversion(spec: Object, at: Path) -> list[FieldError]:
    conversion = spec.get("conversion") or {}
    strategy, webhook = conversion.get("strategy") or "", conversion.get("webhook")
    client, versions = (webhook or {}).get("clientConfig"), at / "conversionReviewVersions"
    problems: list[FieldError] = []
    if strategy != "None" and spec.get("preserveUnknownFields"):
        text = "must be None if spec.preserveUnknownFields is true"
        problems.append(invalid(at / "strategy", strategy, text))
    if not strategy:
        problems.append(required(at / "strategy"))
    elif strategy not in ("None", "Webhook"):
        problems.append(not_supported(at / "strategy", strategy, ("None", "Webhook")))
    reviewed = (webhook or {}).get("conversionReviewVersions") or ()
    if strategy == "Webhook":
        where = at / "webhookClientConfig"
        if client is None:
            problems.append(required(where, "required when strategy is set to Webhook"))
        else:
            problems += client_config_problems(client, where)
        return problems + _review_versions(reviewed, versions)
    text = "should not be set when strategy is not set to Webhook"
    if client is not None:
        problems.append(forbidden(at / "webhookClientConfig", text))
    if reviewed:
        problems.append(forbidden(versions, text))
    return problems


def _review_versions(versions: Sequence[str], at: Path) -> list[FieldError]:
    if not versions:
        return [required(at)]
    problems: list[FieldError] = []
    repeated = validation.repeats(versions)
    for index, one in enumerate(versions):
        if index in repeated:
            problems.append(invalid(at / index, one, "duplicate version"))
            continue
        problems += [invalid(at / index, one, text) for text in validation.dns1035_label(one)]
    if not any(one in ("v1", "v1beta1") for one in versions):
        text = "must include at least one of v1, v1beta1"
        problems.append(invalid(at, list(versions), text))
    return problems


def _stored_versions(status: Object, spec: Object) -> list[FieldError]:
    stored = status.get("storedVersions") or []
    at = Path("status") / "storedVersions"
    if not stored:
        return [invalid(at, [], "must have at least one stored version")]
    versions = spec.get("versions") or ()
    problems = [
        invalid(at, stored, f"must have the storage version {one['name']}")
        for one in versions
        if one.get("storage") and one.get("name") and one["name"] not in stored
    ]
    names = [one.get("name") for one in versions]
    text = (
        "missing from spec.versions; {0} was previously a storage version, and must remain in spec.versions until a"
        " storage migration ensures no data remains persisted in {0} and removes {0} from status.storedVersions"
    )
    return problems + [
        invalid(at / index, one, text.format(one))
        for index, one in enumerate(stored)
        if one not in names
    ]


def _established(crd: Object) -> bool:
    return any(
        one.get("type") == "Established" and one.get("status") == "True"
        for one in (crd.get("status") or {}).get("conditions") or ()
    )


def _change(crd: Object, old: Object) -> list[FieldError]:
    new_spec, old_spec = crd["spec"], old["spec"]
    problems = validation.immutable(new_spec.get("group"), old_spec.get("group"), _SPEC / "group")
    new_plural, old_plural = new_spec["names"].get("plural"), old_spec["names"].get("plural")
    problems += validation.immutable(new_plural, old_plural, _SPEC / "names" / "plural")
    if _established(old):
        problems += validation.immutable(
            new_spec.get("scope"), old_spec.get("scope"), _SPEC / "scope"
        )
        new_kind, old_kind = new_spec["names"].get("kind"), old_spec["names"].get("kind")
        problems += validation.immutable(new_kind, old_kind, _SPEC / "names" / "kind")
    return problems
