"""CSIDriver, CSINode and VolumeAttachment (storage.k8s.io/v1)."""

from __future__ import annotations

from collections.abc import Sequence

from todoku.api import validation
from todoku.api.errors import (
    FieldError,
    Path,
    duplicate,
    forbidden,
    invalid,
    not_supported,
    required,
    too_long,
)
from todoku.api.formats import driver_name, each
from todoku.api.internals import rendered
from todoku.api.meta import Object
from todoku.api.resource import Column, Strategy
from todoku.api.resources.generic import AGE, NAME, keep_all_but_own_status, keep_status
from todoku.api.resources.rules import Rules
from todoku.api.tables import created

_SPEC = Path("spec")


def _default_driver(obj: Object) -> None:
    spec = obj.setdefault("spec", {})
    for field, value in (
        ("attachRequired", True), ("podInfoOnMount", False), ("storageCapacity", False),
        ("fsGroupPolicy", "ReadWriteOnceWithFSType"), ("requiresRepublish", False), ("seLinuxMount", False),
    ):  # fmt: skip
        if spec.get(field) is None:
            spec[field] = value
    if spec.get("volumeLifecycleModes") is None:
        spec["volumeLifecycleModes"] = ["Persistent"]


_GROUP_POLICIES = ("File", "None", "ReadWriteOnceWithFSType")
_MODES = ("Persistent", "Ephemeral")
_MIN_TOKEN_SECONDS, _MAX_TOKEN_SECONDS = 600, 2**32
_MIN_PERIOD_SECONDS = 10


def _validate_driver(new: Object, old: Object | None) -> list[FieldError]:
    spec = new.get("spec") or {}
    policy, modes = spec.get("fsGroupPolicy"), spec.get("volumeLifecycleModes") or ()
    problems: list[FieldError] = []
    if policy is not None and policy not in _GROUP_POLICIES:
        problems.append(not_supported(_SPEC / "fsGroupPolicy", policy, _GROUP_POLICIES))
    problems += _token_requests(spec.get("tokenRequests") or (), _SPEC / "tokenRequests")
    problems += [
        not_supported(_SPEC / "volumeLifecycleModes", one, _MODES)
        for one in modes
        if one not in _MODES
    ]
    period, path = spec.get("nodeAllocatableUpdatePeriodSeconds"), _SPEC
    if period is not None and period < _MIN_PERIOD_SECONDS:
        text = "must be greater than or equal to 10 seconds"
        problems.append(invalid(path / "nodeAllocatableUpdatePeriodSeconds", period, text))
    return problems if old is None else problems + _driver_change(spec, old.get("spec") or {})


def _token_requests(requests: Sequence[Object], at: Path) -> list[FieldError]:
    problems: list[FieldError] = []
    seen: set[str] = set()
    for index, one in enumerate(requests):
        audience, seconds = one.get("audience") or "", one.get("expirationSeconds")
        where = at / index / "expirationSeconds"
        if audience in seen:
            problems.append(duplicate(at / index / "audience", audience))
            continue
        seen.add(audience)
        if seconds is not None and seconds < _MIN_TOKEN_SECONDS:
            text = "may not specify a duration less than 10 minutes"
            problems.append(invalid(where, seconds, text))
        if seconds is not None and seconds > _MAX_TOKEN_SECONDS:
            text = "may not specify a duration larger than 2^32 seconds"
            problems.append(invalid(where, seconds, text))
    return problems


def _driver_change(spec: Object, before: Object) -> list[FieldError]:
    problems: list[FieldError] = []
    for field, name in (
        ("attachRequired", "attachedRequired"),  # as upstream spells it
        ("volumeLifecycleModes", "volumeLifecycleModes"),
    ):
        problems += validation.immutable(spec.get(field), before.get(field), _SPEC / name)
    return problems


def _driver_row(obj: Object) -> list[object]:
    spec = obj["spec"]
    tokens = ",".join(one.get("audience", "") for one in spec.get("tokenRequests") or ())
    return [
        obj["metadata"]["name"],
        bool(spec.get("attachRequired", True)),
        bool(spec.get("podInfoOnMount")),
        bool(spec.get("storageCapacity")),
        tokens or "<unset>",
        bool(spec.get("requiresRepublish")),
        ",".join(spec.get("volumeLifecycleModes") or ()) or "<none>",
        created(obj),
    ]


CSI_DRIVER = Rules(
    strategy=Strategy(
        default=_default_driver,
        validate=_validate_driver,
        delete_returns_object=True,
        has_status=False,
        has_generation=False,
    ),
    columns=(
        NAME,
        Column(
            name="AttachRequired",
            type="boolean",
            documents="storage.v1.CSIDriverSpec.attachRequired",
        ),
        Column(
            name="PodInfoOnMount",
            type="boolean",
            documents="storage.v1.CSIDriverSpec.podInfoOnMount",
        ),
        Column(
            name="StorageCapacity",
            type="boolean",
            documents="storage.v1.CSIDriverSpec.storageCapacity",
        ),
        Column(name="TokenRequests", documents="storage.v1.CSIDriverSpec.tokenRequests"),
        Column(
            name="RequiresRepublish",
            type="boolean",
            documents="storage.v1.CSIDriverSpec.requiresRepublish",
        ),
        Column(name="Modes", documents="storage.v1.CSIDriverSpec.volumeLifecycleModes"),
        AGE,
    ),
    row=_driver_row,
)


_MAX_NODE_ID_CHARACTERS = 256


def _validate_csi_node(new: Object, old: Object | None) -> list[FieldError]:
    problems: list[FieldError] = []
    names: set[str] = set()
    drivers = (new.get("spec") or {}).get("drivers") or ()
    for index, driver in enumerate(drivers):
        at, name = _SPEC / "drivers" / index, driver.get("name") or ""
        problems += _node_driver(driver, at)
        if name in names:
            problems.append(duplicate(at / "name", name))
        names.add(name)
        problems += _topology_keys(driver.get("topologyKeys") or (), at)
    by_name: dict[str, list[Object]] = {}
    for driver in drivers:
        by_name.setdefault(driver.get("name") or "", []).append(driver)
    for before in ((old or {}).get("spec") or {}).get("drivers") or ():
        for driver in by_name.get(before.get("name") or "", ()):
            problems += _node_driver_change(driver, before)
    return problems


def _node_driver(driver: Object, at: Path) -> list[FieldError]:
    problems = driver_name(driver.get("name") or "", at / "name")
    node = driver.get("nodeID") or ""
    if not node:
        problems.append(required(at / "nodeID"))
    if len(node) > _MAX_NODE_ID_CHARACTERS:
        text = f"must be {_MAX_NODE_ID_CHARACTERS} characters or less"
        problems.append(invalid(at / "nodeID", node, text))
    count = (driver.get("allocatable") or {}).get("count")
    return problems + validation.non_negative(count, at / "allocatable" / "count")


def _topology_keys(keys: Sequence[str], at: Path) -> list[FieldError]:
    problems: list[FieldError] = []
    seen: set[str] = set()
    for key in keys:
        if not key:
            problems.append(required(at))
        if key in seen:
            problems.append(duplicate(at, key))
        seen.add(key)
        problems += each(validation.qualified_name_problems, key, at)
    return problems


def _node_driver_change(new: Object, old: Object) -> list[FieldError]:
    """Only what a node can hold changes while a driver is registered."""
    fixed = [{**one, "allocatable": None} for one in (new, old)]
    if new.get("name") != old.get("name") or fixed[0] == fixed[1]:
        return []
    shown = rendered(fixed[0], "CSINodeDriver")
    return [invalid(_SPEC / "drivers", shown, "field is immutable")]


CSI_NODE = Rules(
    strategy=Strategy(
        validate=_validate_csi_node,
        delete_returns_object=True,
        has_status=False,
        has_generation=False,
    ),
    columns=(
        NAME,
        Column(
            name="Drivers",
            type="integer",
            description="Drivers indicates the number of CSI drivers registered on the node",
        ),
        AGE,
    ),
    row=lambda obj: [
        obj["metadata"]["name"],
        len((obj.get("spec") or {}).get("drivers") or ()),
        created(obj),
    ],
)


_ONE_SOURCE = "must specify exactly one of inlineVolumeSpec and persistentVolumeName"
_MAX_METADATA_BYTES, _MAX_MESSAGE_BYTES = 256 * 1024, 1024


def _validate_attachment(new: Object, old: Object | None) -> list[FieldError]:
    spec = new.get("spec") or {}
    attacher, node = spec.get("attacher") or "", spec.get("nodeName") or ""
    problems = [] if attacher else [required(_SPEC / "attacher")]
    problems += _source(spec.get("source") or {}, _SPEC / "source")
    problems += each(validation.dns1123_subdomain, node, _SPEC / "nodeName")
    problems += _attachment_status(new.get("status") or {}, Path("status"))
    if old is not None:
        if spec != (old.get("spec") or {}):
            shown = rendered(spec, "VolumeAttachmentSpec")
            problems.append(invalid(_SPEC, shown, "field is immutable"))
        return problems
    problems += driver_name(attacher, _SPEC / "attacher")
    volume = (spec.get("source") or {}).get("persistentVolumeName")
    if volume is not None:
        at = _SPEC / "source" / "persistentVolumeName"
        problems += each(validation.dns1123_subdomain, volume, at)
    return problems


def _source(source: Object, at: Path) -> list[FieldError]:
    inline, volume = source.get("inlineVolumeSpec"), source.get("persistentVolumeName")
    if inline is None and volume is None:
        return [required(at, _ONE_SOURCE)]
    if inline is not None and volume is not None:
        return [forbidden(at, _ONE_SOURCE)]
    if inline is None and not volume:
        text = "must specify non empty persistentVolumeName"
        return [required(at / "persistentVolumeName", text)]
    return []


def _attachment_status(status: Object, at: Path) -> list[FieldError]:
    problems: list[FieldError] = []
    metadata = status.get("attachmentMetadata") or {}
    size = sum(len(key.encode()) + len(value.encode()) for key, value in metadata.items())
    if size > _MAX_METADATA_BYTES:
        problems.append(too_long(at / "attachmentMetadata", _MAX_METADATA_BYTES))
    for field in ("attachError", "detachError"):
        error = status.get(field) or {}
        if len((error.get("message") or "").encode()) > _MAX_MESSAGE_BYTES:
            problems.append(too_long(at / field / "message", _MAX_METADATA_BYTES))
        if (error.get("errorCode") or 0) < 0:
            text = "must be between 0 and 2147483647, inclusive"
            problems.append(invalid(at / field / "errorCode", error["errorCode"], text))
    return problems


def _no_attachment(obj: Object) -> None:
    obj["status"] = {"attached": False}


VOLUME_ATTACHMENT = Rules(
    strategy=Strategy(
        prepare_create=_no_attachment,
        prepare_update=keep_status,
        prepare_status=keep_all_but_own_status,
        validate=_validate_attachment,
        validate_status=_validate_attachment,
        delete_returns_object=True,
        has_generation=False,
    ),
    columns=(
        NAME,
        Column(
            name="Attacher", format="name", documents="storage.v1.VolumeAttachmentSpec.attacher"
        ),
        Column(name="PV", documents="storage.v1.VolumeAttachmentSource.persistentVolumeName"),
        Column(name="Node", documents="storage.v1.VolumeAttachmentSpec.nodeName"),
        Column(
            name="Attached", type="boolean", documents="storage.v1.VolumeAttachmentStatus.attached"
        ),
        AGE,
    ),
    row=lambda obj: [
        obj["metadata"]["name"],
        (obj.get("spec") or {}).get("attacher", ""),
        ((obj.get("spec") or {}).get("source") or {}).get("persistentVolumeName", ""),
        (obj.get("spec") or {}).get("nodeName", ""),
        bool((obj.get("status") or {}).get("attached")),
        created(obj),
    ],
)
