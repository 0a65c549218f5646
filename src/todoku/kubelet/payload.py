"""What lies in ConfigMap, Secret, downward API and projected volumes: paths, contents and modes; pure.

Sources: core/v1 volume sources, upstream's projected and downwardapi plugins.
"""

from __future__ import annotations

import base64
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from todoku.api.meta import Object
from todoku.kubelet.environment import (
    ConfigError,
    Facts,
    container_of,
    field_value,
    resource_value,
)

PAYLOAD_SOURCES = ("configMap", "secret", "downwardAPI", "projected")
_DEFAULT_MODE = 0o644


@dataclass(frozen=True, slots=True)
class File:
    content: bytes
    mode: int = _DEFAULT_MODE
    uid: int | None = None


@dataclass(frozen=True, slots=True)
class TokenWanted:
    """A service account token that a projected volume shows at `path`."""

    path: str
    audience: str = ""
    expiration_seconds: int = 3600


class Missing(ConfigError):
    """An object that a volume needs is not there yet; try again when it appears."""


def payload(volume: Object, facts: Facts, tokens: Mapping[TokenWanted, str]) -> dict[str, File]:
    """Path → file for one volume.  Raises ConfigError (Missing for what may still come)."""
    for kind in PAYLOAD_SOURCES:
        source = volume.get(kind)
        if source is not None:
            break
    else:
        raise ConfigError(f"volume {volume['name']} has no payload")
    mode = source.get("defaultMode")
    mode = _DEFAULT_MODE if mode is None else mode
    if kind != "projected":
        return _one(kind, source, mode, facts)
    found: dict[str, File] = {}
    for part in source.get("sources") or ():
        found |= _part(part, mode, facts, tokens)
    return found


def wanted_tokens(volume: Object) -> Iterator[TokenWanted]:
    for part in (volume.get("projected") or {}).get("sources") or ():
        token = part.get("serviceAccountToken")
        if token:
            seconds = token.get("expirationSeconds") or 3600
            yield TokenWanted(token["path"], token.get("audience") or "", seconds)


def references(volumes: Sequence[Object]) -> tuple[set[str], set[str]]:
    """The names of the (ConfigMaps, Secrets) that the volumes show."""
    maps: set[str] = set()
    secrets: set[str] = set()
    for volume in volumes:
        parts = [volume, *((volume.get("projected") or {}).get("sources") or ())]
        for index, part in enumerate(parts):
            if part.get("configMap"):
                maps.add(part["configMap"]["name"])
            if part.get("secret"):
                secrets.add(part["secret"]["name" if index else "secretName"])
    return maps, secrets


def _part(
    part: Object, mode: int, facts: Facts, tokens: Mapping[TokenWanted, str]
) -> dict[str, File]:
    if part.get("serviceAccountToken"):
        return _token(part, mode, facts, tokens)
    for kind in ("configMap", "secret", "downwardAPI"):
        if part.get(kind) is not None:
            return _one(kind, part[kind], mode, facts)
    raise ConfigError(f"unsupported projected source: {', '.join(part)}")


def _one(kind: str, source: Object, mode: int, facts: Facts) -> dict[str, File]:
    if kind == "downwardAPI":
        return _downward(source, mode, facts)
    objects, word = (
        (facts.config_map_bytes, "configmap") if kind == "configMap" else (facts.secrets, "secret")
    )
    name = str(source.get("name") or source.get("secretName"))
    data = objects.get(name)
    if data is None:
        if source.get("optional"):
            return {}
        raise Missing(f'{word} "{name}" not found')
    items = source.get("items")
    if not items:
        return {key: File(value, mode) for key, value in data.items()}
    return _items(
        items, data, mode, f"references non-existent {word} key", bool(source.get("optional"))
    )


def _items(
    items: Sequence[Object], data: Mapping[str, bytes], mode: int, problem: str, optional: bool
) -> dict[str, File]:
    found = {}
    for item in items:
        if item["key"] in data:
            own = item.get("mode")
            found[_inside(item["path"])] = File(data[item["key"]], mode if own is None else own)
        elif not optional:
            raise Missing(f"{problem}: {item['key']}")
    return found


def _downward(source: Object, mode: int, facts: Facts) -> dict[str, File]:
    found = {}
    for item in source.get("items") or ():
        if item.get("fieldRef"):
            text = field_value(item["fieldRef"]["fieldPath"], facts)
        else:
            reference = item["resourceFieldRef"]
            text = resource_value(reference, container_of(reference, facts.pod, None), facts)
        own = item.get("mode")
        found[_inside(item["path"])] = File(text.encode(), mode if own is None else own)
    return found


def _token(
    part: Object, mode: int, facts: Facts, tokens: Mapping[TokenWanted, str]
) -> dict[str, File]:
    wanted = next(iter(wanted_tokens({"projected": {"sources": [part]}})))
    if wanted not in tokens:
        raise Missing(f"no token yet for {wanted.path}")
    owner = common_user(facts.pod)
    fs_group = (facts.pod["spec"].get("securityContext") or {}).get("fsGroup")
    if owner is not None or fs_group is not None:
        mode = 0o600  # readable for that user or, by ownership of the volume, for that group
    return {_inside(wanted.path): File(tokens[wanted].encode(), mode, owner)}


def common_user(pod: Object) -> int | None:
    """The user that all containers run as, if every one of them says the same."""
    context = pod["spec"].get("securityContext") or {}
    users = {
        (one.get("securityContext") or {}).get("runAsUser", context.get("runAsUser"))
        for one in [*pod["spec"]["containers"], *(pod["spec"].get("initContainers") or ())]
    }
    return users.pop() if len(users) == 1 else None


def config_map_data(obj: Object) -> dict[str, bytes]:
    """`data` and `binaryData` together."""
    text = {key: value.encode() for key, value in (obj.get("data") or {}).items()}
    return text | secret_data({"data": obj.get("binaryData") or {}})


def secret_data(obj: Object) -> dict[str, bytes]:
    return {key: base64.b64decode(value) for key, value in (obj.get("data") or {}).items()}


def _inside(path: str) -> str:
    """Validation has refused such paths; an old object must not lead out of its volume either."""
    parts = path.split("/")
    if path.startswith("/") or ".." in parts or not path:
        raise ConfigError(f"path {path!r} leaves its volume")
    return path
