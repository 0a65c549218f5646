"""Any object without a layout of its own: every field by its spaced-out name."""

from __future__ import annotations

import re
from typing import Any

from todoku.api.meta import Object
from todoku.cli.kubectl_lib.describe.document import Document
from todoku.cli.kubectl_lib.session import Session

_HUMP = re.compile(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])")
_ACRONYMS = ("API", "URL", "UID", "OSB", "GUID")
_KNOWN = ("apiVersion", "kind", "metadata")


async def describe_generic(session: Session, document: Document, obj: Object) -> None:
    metadata = obj["metadata"]
    document.field("Name", metadata["name"])
    document.field("Namespace", metadata.get("namespace", ""))
    document.mapping("Labels", metadata.get("labels"))
    document.mapping("Annotations", metadata.get("annotations"), joint=": ")
    document.field("API Version", obj.get("apiVersion", ""))
    document.field("Kind", obj.get("kind", ""))
    hidden = ("name", "namespace", "labels", "annotations", "managedFields")
    with document.nested("Metadata:"):
        _fields(document, {key: value for key, value in metadata.items() if key not in hidden})
    _fields(document, {key: value for key, value in obj.items() if key not in _KNOWN})


def _fields(document: Document, values: Object) -> None:
    for key in sorted(values):
        _field(document, spaced(key), values[key])


def _field(document: Document, name: str, value: Any) -> None:
    if isinstance(value, dict):
        with document.nested(f"{name}:"):
            _fields(document, value)
    elif isinstance(value, list):
        with document.nested(f"{name}:"):
            for one in value:
                if isinstance(one, dict):
                    _fields(document, one)
                else:
                    document.line(one)
    else:
        shown = (
            {True: "true", False: "false"}.get(value, value) if isinstance(value, bool) else value
        )
        document.field(name, shown)


def spaced(name: str) -> str:
    """`ipAddressPools` as `Ip Address Pools`; kubectl keeps a few acronyms and splits the others."""
    words = _HUMP.sub(" ", name).split(" ")
    return " ".join(
        word.upper() if word.upper() in _ACRONYMS else word[:1].upper() + word[1:] for word in words
    )
