"""Reading kubeconfig files (clientcmd v1 Config)."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Mapping
from pathlib import Path
from typing import Any, cast

import yaml

from todoku.client.credentials import ConfigError, PluginError, credential

_Loader = cast(type[yaml.SafeLoader], getattr(yaml, "CSafeLoader", yaml.SafeLoader))


def read(path: Path, *, context: str = "") -> dict[str, Any]:
    """The fields of `ClientConfig` that one context fills.  Raises ConfigError, OSError."""
    document = yaml.load(path.read_text(), Loader=_Loader)
    if not isinstance(document, dict):
        raise ConfigError(f"{path}: not a kubeconfig: the document is not a mapping")
    return parse(document, source=path, context=context)


def parse(document: Mapping[str, Any], *, source: Path, context: str = "") -> dict[str, Any]:
    name = context or document.get("current-context") or ""
    if not name:
        raise ConfigError(f"{source}: current-context: not set; name a context")
    chosen = _entry(document, "contexts", "context", name, source)
    cluster = _entry(document, "clusters", "cluster", chosen.get("cluster", ""), source)
    user_name = chosen.get("user", "")
    user = _entry(document, "users", "user", user_name, source) if user_name else {}
    if "auth-provider" in user:
        raise ConfigError(
            f'{source}: users "{user_name}": auth-provider: was removed from Kubernetes in 1.26;'
            " use a credential plugin (exec), a certificate or a token"
        )
    if not cluster.get("server"):
        raise ConfigError(f'{source}: clusters "{chosen.get("cluster")}": server: not set')
    fields: dict[str, Any] = {
        "server": str(cluster["server"]).rstrip("/"),
        "ca": _pem(cluster, "certificate-authority", source),
        "insecure": bool(cluster.get("insecure-skip-tls-verify", False)),
        "server_name": cluster.get("tls-server-name", ""),
        "certificate": _pem(user, "client-certificate", source),
        "key": _pem(user, "client-key", source),
        "token": user.get("token", ""),
        "token_file": user.get("tokenFile", ""),
        "username": user.get("username", ""),
        "password": user.get("password", ""),
        "impersonate": user.get("as", ""),
        "impersonate_groups": tuple(user.get("as-groups") or ()),
        "namespace": chosen.get("namespace") or "default",
    }
    if "exec" in user:
        fields |= _plugin(user["exec"], cluster, user_name, source)
    return fields


def _plugin(
    plugin: Mapping[str, Any], cluster: Mapping[str, Any], user: str, source: Path
) -> dict[str, Any]:
    try:
        return credential(plugin, cluster=cluster, folder=source.parent)
    except PluginError as error:
        raise ConfigError(f'{source}: users "{user}": {error}') from error


def _entry(
    document: Mapping[str, Any], section: str, field: str, name: str, source: Path
) -> dict[str, Any]:
    for entry in document.get(section) or ():
        if entry.get("name") == name:
            return dict(entry.get(field) or {})
    raise ConfigError(f'{source}: {section}: no entry is named "{name}"')


def _pem(section: Mapping[str, Any], field: str, source: Path) -> bytes:
    """`field` names a file (relative to the kubeconfig), `field`-data holds base64 and wins."""
    encoded = section.get(f"{field}-data")
    if encoded:
        try:
            return base64.b64decode(encoded, validate=True)
        except (binascii.Error, ValueError) as error:
            raise ConfigError(f"{source}: {field}-data: not base64: {error}") from error
    named = section.get(field)
    return (source.parent / named).read_bytes() if named else b""
