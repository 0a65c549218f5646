"""Which objects a command is about: `TYPE`, `TYPE NAME…`, `TYPE/NAME…`, `-f FILE`, `-l SELECTOR`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from todoku.api.meta import Object
from todoku.cli.kubectl_lib.catalog import Catalog, Kind
from todoku.cli.kubectl_lib.files import read_objects
from todoku.cli.kubectl_lib.refusals import Usage
from todoku.client import Client


@dataclass(frozen=True, slots=True)
class Target:
    """One resource, and one object of it if `name` is not empty; `namespace` "" is none or all."""

    kind: Kind
    name: str = ""
    namespace: str = ""


def parse(
    words: Sequence[str], catalog: Catalog, namespace: str, *, default: str = ""
) -> list[Target]:
    """The targets of a command's words.  `default` is the type that a bare name means.  Raises Usage."""
    if not words:
        raise Usage("you must specify the type of resource")
    if any("/" in word for word in words):
        return [_slashed(word, catalog, namespace, default) for word in words]
    if default and len(words) == 1:
        return [_target(catalog.find(default), words[0], namespace)]
    kinds = [kind for word in words[0].split(",") for kind in _kinds(word, catalog)]
    if len(words) == 1:
        return [_target(kind, "", namespace) for kind in kinds]
    return [_target(kind, name, namespace) for kind in kinds for name in words[1:]]


def from_files(
    names: Sequence[str], catalog: Catalog, namespace: str, *, recursive: bool = False
) -> list[tuple[Target, Object]]:
    """The targets of `-f`, with what the files say of them."""
    objects = [obj for name in names for obj in read_objects(name, recursive=recursive)]
    found = []
    for obj in objects:
        kind = catalog.of(obj)
        own = obj["metadata"].get("namespace") or namespace
        found.append((_target(kind, obj["metadata"].get("name", ""), own), obj))
    return found


async def existing(
    client: Client, targets: Sequence[Target], *, labels: str = "", fields: str = ""
) -> list[tuple[Target, Object]]:
    """The objects behind the targets: named ones by GET (raises NotFound), the others by LIST."""
    found: list[tuple[Target, Object]] = []
    for target in targets:
        resource = target.kind.named.name
        if target.name:
            obj = await client.get(resource, target.name, target.namespace)
            found.append((target, obj))
            continue
        listed = await client.list(resource, target.namespace, labels=labels, fields=fields)
        for obj in listed.items:
            metadata = obj["metadata"]
            found.append(
                (Target(target.kind, metadata["name"], metadata.get("namespace", "")), obj)
            )
    return found


def _slashed(word: str, catalog: Catalog, namespace: str, default: str) -> Target:
    kind, slash, name = word.partition("/")
    if not slash and default:
        return _target(catalog.find(default), word, namespace)
    if not slash or not name or "/" in name:
        raise Usage(
            "there is no need to specify a resource type as a separate argument when passing arguments "
            "in resource/name form (e.g. 'get resource/<resource_name>' instead of 'get resource resource/<resource_name>'"
        )
    return _target(catalog.find(kind), name, namespace)


def _kinds(word: str, catalog: Catalog) -> list[Kind]:
    return catalog.category(word) or [catalog.find(word)]


def _target(kind: Kind, name: str, namespace: str) -> Target:
    return Target(kind, name, namespace if kind.named.namespaced else "")
