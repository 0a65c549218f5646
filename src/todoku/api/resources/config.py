"""ConfigMap, Secret and ServiceAccount (core/v1)."""

from __future__ import annotations

import base64
import binascii
import json

from todoku.api import gojson, validation
from todoku.api.errors import WHOLE, FieldError, Path, forbidden, invalid, required, too_long
from todoku.api.meta import Object
from todoku.api.resource import Column, Strategy
from todoku.api.resources.generic import AGE, NAME
from todoku.api.resources.rules import Rules
from todoku.api.tables import created

MAX_BYTES = 1024 * 1024


def _key_problems(keys: object, path: Path) -> list[FieldError]:
    return [
        invalid(path.key(key), key, text)
        for key in keys  # type: ignore[attr-defined]
        for text in validation.config_map_key_problems(key)
    ]


def _immutable_problems(new: Object, old: Object, fields: tuple[str, ...]) -> list[FieldError]:
    if not old.get("immutable"):
        return []
    problems: list[FieldError] = []
    text = "field is immutable when `immutable` is set"
    if new.get("immutable") is not True:
        problems.append(forbidden(Path("immutable"), text))
    for field in fields:
        if (new.get(field) or {}) != (old.get(field) or {}):
            problems.append(forbidden(Path(field), text))
    return problems


def _validate_config_map(new: Object, old: Object | None) -> list[FieldError]:
    data, binary = new.get("data") or {}, new.get("binaryData") or {}
    problems: list[FieldError] = []
    if old is not None:
        problems += _immutable_problems(new, old, ("data", "binaryData"))
    total = 0
    for key, value in data.items():
        problems += _key_problems([key], Path("data"))
        if key in binary:
            problems.append(
                invalid(Path("data").key(key), key, "duplicate of key present in binaryData")
            )
        total += len(value.encode())
    for key in binary:
        problems += _key_problems([key], Path("binaryData"))
        if key in data:
            text = "duplicate of key present in data"
            problems.append(invalid(Path("binaryData").key(key), key, text))
    total += sum(_decoded_size(value) for value in binary.values())
    if total > MAX_BYTES:
        problems.append(too_long(WHOLE, MAX_BYTES))
    return problems


def _decoded_size(value: str) -> int:
    return len(value) * 3 // 4 - value.count("=")


CONFIG_MAP = Rules(
    strategy=Strategy(validate=_validate_config_map, has_status=False, has_generation=False),
    columns=(NAME, Column(name="Data", documents="core.v1.ConfigMap.data"), AGE),
    row=lambda obj: [
        obj["metadata"]["name"],
        len(obj.get("data") or {}) + len(obj.get("binaryData") or {}),
        created(obj),
    ],
)

_TOKEN = "kubernetes.io/service-account-token"
# type -> keys that must be there
_NEEDED_KEYS = {
    "kubernetes.io/dockercfg": (".dockercfg",),
    "kubernetes.io/dockerconfigjson": (".dockerconfigjson",),
    "kubernetes.io/tls": ("tls.crt", "tls.key"),
}


def _default_secret(obj: Object) -> None:
    """`stringData` is written once and never read back: admission sees `data` already."""
    if not obj.get("type"):
        obj["type"] = "Opaque"
    plain = obj.pop("stringData", None)
    if plain:
        data = dict(obj.get("data") or {})
        data.update(
            {key: base64.b64encode(value.encode()).decode() for key, value in plain.items()}
        )
        obj["data"] = data


def _validate_secret(new: Object, old: Object | None) -> list[FieldError]:
    data = new.get("data") or {}
    path = Path("data")
    problems: list[FieldError] = []
    if old is not None:
        problems += validation.immutable(new.get("type"), old.get("type"), Path("type"))
        problems += _immutable_problems(new, old, ("data",))
    problems += _key_problems(data, path)
    if sum(_decoded_size(value) for value in data.values()) > MAX_BYTES:
        problems.append(too_long(path, MAX_BYTES))
    return problems + _by_type(new, data)


def _by_type(secret: Object, data: Object) -> list[FieldError]:
    kind, path = secret.get("type"), Path("data")
    if kind == _TOKEN:
        annotations = secret["metadata"].get("annotations") or {}
        if not annotations.get("kubernetes.io/service-account.name"):
            at = (Path("metadata") / "annotations").key("kubernetes.io/service-account.name")
            return [required(at)]
    if kind == "kubernetes.io/basic-auth" and "username" not in data and "password" not in data:
        return [required(path.key("username")), required(path.key("password"))]
    if kind == "kubernetes.io/ssh-auth" and not data.get("ssh-privatekey"):
        return [required(path.key("ssh-privatekey"))]
    problems = [
        required(path.key(key)) for key in _NEEDED_KEYS.get(str(kind), ()) if key not in data
    ]
    if kind in ("kubernetes.io/dockercfg", "kubernetes.io/dockerconfigjson") and not problems:
        problems += _json_problem(data, _NEEDED_KEYS[kind][0], path)
    return problems


def _json_problem(data: Object, key: str, path: Path) -> list[FieldError]:
    try:
        raw = base64.b64decode(data[key])
    except binascii.Error:
        raw = b""
    text = gojson.syntax_error(raw)
    if text is None:
        found = json.loads(raw)
        if found is None or isinstance(found, dict):
            return []
        text = (
            f"json: cannot unmarshal {gojson.kind(found)} into Go value of type"
            " map[string]interface {}"
        )
    return [invalid(path.key(key), "<secret contents redacted>", text)]


SECRET = Rules(
    strategy=Strategy(
        default=_default_secret,
        validate=_validate_secret,
        selectable_fields=lambda obj: {"type": obj.get("type", "")},
        selectable_field_names=("type",),
        has_status=False,
        has_generation=False,
    ),
    columns=(
        NAME,
        Column(name="Type", documents="core.v1.Secret.type"),
        Column(name="Data", documents="core.v1.Secret.data"),
        AGE,
    ),
    row=lambda obj: [
        obj["metadata"]["name"],
        obj.get("type", ""),
        len(obj.get("data") or {}),
        created(obj),
    ],
)

SERVICE_ACCOUNT = Rules(
    strategy=Strategy(has_status=False, has_generation=False, delete_returns_object=True),
    columns=(
        NAME,
        Column(name="Secrets", documents="core.v1.ServiceAccount.secrets"),
        AGE,
    ),
    row=lambda obj: [obj["metadata"]["name"], len(obj.get("secrets") or ()), created(obj)],
)
