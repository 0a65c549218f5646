"""Validation of a pod's volumes."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence

from todoku.api import quantities, validation
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
from todoku.api.podspec.claims import claim_template_problems
from todoku.api.podspec.environment import FILE_FIELDS, field_ref_problems, resource_ref_problems
from todoku.api.podspec.paths import file_path_problems, mode_problems
from todoku.api.podspec.volume_sources import COMMON, ISCSI_TOO_LONG, POD_ONLY, Sources, iscsi


def volumes_problems(
    volumes: Sequence[Object], path: Path, *, pod_name: str = ""
) -> tuple[dict[str, Object], list[FieldError]]:
    """The sound volumes by name, which containers may mount, and what is wrong with the others.

    `pod_name` is known for pods only; it is part of the names of claims that are made for the pod.
    """
    made = {f"{pod_name}-{one.get('name')}" for one in volumes if pod_name and one.get("ephemeral")}
    sound: dict[str, Object] = {}
    problems: list[FieldError] = []
    for index, volume in enumerate(volumes):
        at = path / index
        found = _source_problems(volume, at, pod_name) + _name_problems(volume, at, sound)
        if found:
            problems += found
        else:
            sound[volume["name"]] = volume
        claim = (volume.get("persistentVolumeClaim") or {}).get("claimName")
        if claim in made:
            text = "must not reference a PVC that gets created for an ephemeral volume"
            problems.append(invalid(at / "persistentVolumeClaim" / "claimName", claim, text))
    return sound, problems


def _name_problems(volume: Object, at: Path, taken: Collection[str]) -> list[FieldError]:
    name = volume.get("name") or ""
    if not name:
        return [required(at / "name")]
    problems = [invalid(at / "name", name, text) for text in validation.dns1123_label(name)]
    if name in taken:
        problems.append(duplicate(at / "name", name))
    return problems


def _source_problems(volume: Object, path: Path, pod_name: str) -> list[FieldError]:
    """Exactly one source (validateVolumeSource)."""
    given = [field for field in _ORDER if volume.get(field) is not None]
    if not given:
        return [required(path, "must specify a volume type")]
    problems: list[FieldError] = []
    for number, field in enumerate(given):
        check, name_in_path, name_refused = _SOURCES[field]
        if number:
            text = "may not specify more than 1 volume type"
            problems.append(forbidden(path / name_refused, text))
        else:
            problems += check(volume[field], path / name_in_path)
            if field == "ephemeral":
                problems += _made_claim_problems(volume, path, pod_name)
        if field == "iscsi":
            problems += _portal_problems(volume, path)
    return problems


def _portal_problems(volume: Object, path: Path) -> list[FieldError]:
    source, name = volume["iscsi"], volume.get("name") or ""
    long = len(f"{name}:{source.get('targetPortal') or ''}") > 64
    if source.get("initiatorName") is not None and long:
        return [invalid(path / "name", name, ISCSI_TOO_LONG)]
    return []


def _made_claim_problems(volume: Object, path: Path, pod_name: str) -> list[FieldError]:
    """The claim that is made for the volume must have a name that claims can have."""
    name = volume.get("name") or ""
    if not pod_name or not name:
        return []
    claim = f"{pod_name}-{name}"
    return [
        invalid(path / "name", name, f'PVC name "{claim}": {text}')
        for text in validation.dns1123_subdomain(claim)
    ]


def _empty_dir(source: Object, path: Path) -> list[FieldError]:
    limit = source.get("sizeLimit")
    if limit is None:
        return []
    try:
        negative = quantities.parse(limit) < quantities.ZERO
    except quantities.QuantityError as error:
        return [invalid(path / "sizeLimit", limit, str(error))]
    if not negative:
        return []
    return [forbidden(path / "sizeLimit", "SizeLimit field must be a valid resource quantity")]


def _items(source: Object, path: Path) -> list[FieldError]:
    """KeyToPath."""
    problems: list[FieldError] = []
    for index, item in enumerate(source.get("items") or ()):
        at, where = path / "items" / index, item.get("path") or ""
        if not item.get("key"):
            problems.append(required(at / "key"))
        if not where:
            problems.append(required(at / "path"))
        problems += file_path_problems(where, at / "path")
        problems += mode_problems(item, "mode", at)
    return problems


def _keyed(field: str) -> Callable[[Object, Path], list[FieldError]]:
    """A Secret or ConfigMap, whose name is in `field`."""

    def check(source: Object, path: Path) -> list[FieldError]:
        problems = [] if source.get(field) else [required(path / field)]
        return problems + mode_problems(source, "defaultMode", path) + _items(source, path)

    return check


def _downward(source: Object, path: Path) -> list[FieldError]:
    problems = mode_problems(source, "defaultMode", path)
    for item in source.get("items") or ():
        problems += _downward_file(item, path)
    return problems


def _downward_file(item: Object, path: Path) -> list[FieldError]:
    """One file; upstream's paths name the list only (validateDownwardAPIVolumeFile)."""
    where = item.get("path") or ""
    problems = [] if where else [required(path / "path")]
    problems += file_path_problems(where, path / "path")
    field, resource = item.get("fieldRef"), item.get("resourceFieldRef")
    if field is not None:
        problems += field_ref_problems(field, path / "fieldRef", FILE_FIELDS)
        if resource is not None:
            text = "fieldRef and resourceFieldRef can not be specified simultaneously"
            problems.append(invalid(path, "resource", text))
    elif resource is not None:
        at = path / "resourceFieldRef"
        problems += resource_ref_problems(resource, at, container_needed=True)
    else:
        problems.append(required(path, "one of fieldRef and resourceFieldRef is required"))
    return problems + mode_problems(item, "mode", path)


def _projected(source: Object, path: Path) -> list[FieldError]:
    problems = mode_problems(source, "defaultMode", path)
    taken: set[str] = set()
    for index, one in enumerate(source.get("sources") or ()):
        at = path / "sources" / index
        given = [kind for kind in _PROJECTIONS if one.get(kind) is not None]
        for kind in given:
            problems += _PROJECTIONS[kind](one[kind], at / kind, path)
            for file, shown in _projected_paths(kind, one[kind]):
                if file in taken:
                    problems.append(invalid(path, shown, "conflicting duplicate paths"))
                taken.add(file)
        if len(given) > 1:
            text = "may not specify more than 1 volume type per source"
            problems.append(forbidden(at, text))
    return problems


def _projected_paths(kind: str, source: Object) -> list[tuple[str, str]]:
    """Files a source makes, and what is shown if one is there already; tokens are not looked at."""
    items = source.get("items") or ()
    files = [item["path"] for item in items if item.get("path")]
    if kind == "downwardAPI":
        return [(file, file) for file in files]
    return [(file, source.get("name") or "") for file in files]


def _named_projection(source: Object, path: Path, volume: Path) -> list[FieldError]:
    problems = [] if source.get("name") else [required(path / "name")]
    return problems + _items(source, path)


def _downward_projection(source: Object, path: Path, volume: Path) -> list[FieldError]:
    problems: list[FieldError] = []
    for item in source.get("items") or ():
        problems += _downward_file(item, path)
    return problems


def _token_projection(source: Object, path: Path, volume: Path) -> list[FieldError]:
    problems: list[FieldError] = []
    seconds = source.get("expirationSeconds", 3600)
    at = path / "expirationSeconds"
    if seconds < 600:
        problems.append(invalid(at, seconds, "may not specify a duration less than 10 minutes"))
    if seconds > 1 << 32:
        problems.append(invalid(at, seconds, "may not specify a duration larger than 2^32 seconds"))
    where = source.get("path") or ""
    if not where:
        return [*problems, required(volume / "path")]
    return problems + file_path_problems(where, volume / "path")


# In the order in which upstream looks; sources that only a feature gate gives are dropped before.
_PROJECTIONS: dict[str, Callable[[Object, Path, Path], list[FieldError]]] = {
    "secret": _named_projection,
    "configMap": _named_projection,
    "downwardAPI": _downward_projection,
    "serviceAccountToken": _token_projection,
}


def _ephemeral(source: Object, path: Path) -> list[FieldError]:
    template = source.get("volumeClaimTemplate")
    if template is None:
        return [required(path / "volumeClaimTemplate")]
    return claim_template_problems(template, path / "volumeClaimTemplate")


def _image(source: Object, path: Path) -> list[FieldError]:
    problems = [] if source.get("reference") else [required(path / "reference")]
    policy = source.get("pullPolicy") or ""
    if not policy:
        problems.append(required(path / "pullPolicy"))
    elif policy not in PULL_POLICIES:
        problems.append(not_supported(path / "pullPolicy", policy, PULL_POLICIES))
    return problems


PULL_POLICIES = ("Always", "IfNotPresent", "Never")
_SOURCES: Sources = {
    **COMMON,
    **POD_ONLY,
    "emptyDir": (_empty_dir, "emptyDir", "emptyDir"),
    "secret": (_keyed("secretName"), "secret", "secret"),
    "iscsi": (iscsi(), "iscsi", "iscsi"),
    "downwardAPI": (_downward, "downwardAPI", "downwarAPI"),
    "configMap": (_keyed("name"), "configMap", "configMap"),
    "projected": (_projected, "projected", "projected"),
    "ephemeral": (_ephemeral, "ephemeral", "ephemeral"),
    "image": (_image, "image", "image"),
}
_ORDER = (
    "emptyDir", "hostPath", "gitRepo", "gcePersistentDisk", "awsElasticBlockStore", "secret", "nfs", "iscsi",
    "glusterfs", "flocker", "persistentVolumeClaim", "rbd", "cinder", "cephfs", "quobyte", "downwardAPI", "fc",
    "flexVolume", "configMap", "azureFile", "vsphereVolume", "photonPersistentDisk", "portworxVolume",
    "azureDisk", "storageos", "projected", "scaleIO", "csi", "ephemeral", "image",
)  # fmt: skip
