"""Which credentials of a pod's pull secrets fit an image; pure.  Source: docker's config.json format."""

from __future__ import annotations

import base64
import binascii
import json
from collections.abc import Mapping, Sequence
from typing import Any

from todoku.api.images import ImageError, parse
from todoku.kubelet.images import Credentials


def credentials(reference: str, secrets: Sequence[Mapping[str, bytes]]) -> Credentials | None:
    """The credentials of the first secret that names the image's registry (most specific path first)."""
    try:
        name = parse(reference).name
    except ImageError:
        return None
    matches = [
        (len(host), entry)
        for data in secrets
        for host, entry in _entries(data)
        if name == host or name.startswith(f"{host}/")
    ]
    for _, entry in sorted(matches, key=lambda one: one[0], reverse=True):
        found = _credentials(entry)
        if found is not None:
            return found
    return None


def _entries(data: Mapping[str, bytes]) -> list[tuple[str, Mapping[str, Any]]]:
    text = data.get(".dockerconfigjson") or data.get(".dockercfg")
    if not text:
        return []
    try:
        document = json.loads(text)
    except ValueError:
        return []
    auths = document.get("auths", {}) if ".dockerconfigjson" in data else document
    return [(_host(url), entry) for url, entry in auths.items() if isinstance(entry, dict)]


def _host(url: str) -> str:
    text = url.removeprefix("https://").removeprefix("http://")
    text = text.removesuffix("/").removesuffix("/v1").removesuffix("/v2")
    return "docker.io" if text in ("index.docker.io", "registry-1.docker.io") else text


def _credentials(entry: Mapping[str, Any]) -> Credentials | None:
    if entry.get("username"):
        return Credentials(str(entry["username"]), str(entry.get("password", "")))
    try:
        user, colon, password = base64.b64decode(str(entry.get("auth", ""))).decode().partition(":")
    except (binascii.Error, UnicodeDecodeError):
        return None
    return Credentials(user, password) if colon else None
