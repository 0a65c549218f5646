"""What form of answer a request wants: its Accept header read once (RFC 9110 12.5.1; meta/v1 Table)."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

from todoku.api import errors

JSON = "application/json"
YAML = "application/yaml"
PROTOBUF = "application/vnd.kubernetes.protobuf"
_JSON_RANGES = frozenset({JSON, "*/*", "application/*", ""})
_OFFERED = f"{JSON}, {YAML}, {PROTOBUF}"


@dataclass(frozen=True, slots=True)
class Form:
    """`as_` is "" for the object itself, else Table or PartialObjectMetadata(List) in `version` of meta.k8s.io."""

    media: str = JSON
    as_: str = ""
    version: str = ""
    group: str = ""
    include: str = "Metadata"  # of Tables: None, Metadata or Object


PLAIN = Form()


@lru_cache(maxsize=512)
def media_ranges(accept: str) -> tuple[tuple[str, dict[str, str]], ...]:
    """The media ranges of an Accept header, best first, each with its parameters."""
    found = []
    for position, part in enumerate(accept.split(",")):
        media, *parameters = (piece.strip() for piece in part.split(";"))
        values = dict(piece.partition("=")[::2] for piece in parameters)
        found.append((-_quality(values.pop("q", "1")), position, media.lower(), values))
    found.sort(key=lambda one: one[:2])
    return tuple((media, values) for _, _, media, values in found)


def _quality(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        return 0.0


@lru_cache(maxsize=512)
def form_of(accept: str, *, tables: bool = True, streamed: bool = False) -> Form:
    """The first acceptable form; raises NotAcceptable if there is none.

    `tables` False refuses Table and PartialObjectMetadata (reviews, subresources without columns); a list that is
    `streamed` (KEP-3157) has no Table.
    """
    if not accept:
        return PLAIN
    for media, parameters in media_ranges(accept):
        if media not in _JSON_RANGES and media != YAML:
            continue
        media = YAML if media == YAML else JSON
        kind = parameters.get("as", "")
        if not kind:
            return Form(media) if media == YAML else PLAIN
        group, version = parameters.get("g", ""), parameters.get("v", "")
        if streamed and kind == "Table":
            continue
        if not tables or group != "meta.k8s.io" or version not in ("v1", "v1beta1"):
            continue
        if kind in ("Table", "PartialObjectMetadata", "PartialObjectMetadataList"):
            return Form(media, kind, version, group)
    raise errors.NotAcceptable(f"only the following media types are accepted: {_OFFERED}")


def takes_documents(accept: str) -> bool:
    """Whether a client takes OpenAPI documents: as JSON or in one of their protobuf forms."""
    return not accept or any(
        media in _JSON_RANGES or "protobuf" in media for media, _ in media_ranges(accept)
    )
