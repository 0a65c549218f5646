"""What the server serves, by every word a user may write: `po`, `pod`, `pods`, `deployment.apps`, `all`."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from todoku.api.meta import Object
from todoku.cli.kubectl_lib.refusals import Usage
from todoku.client import Client
from todoku.client.client import raise_for_status
from todoku.client.names import Named

_DISCOVERY = "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList"


@dataclass(frozen=True, slots=True)
class Kind:
    """One resource as discovery describes it."""

    named: Named
    singular: str = ""
    short: tuple[str, ...] = ()
    categories: tuple[str, ...] = ()

    def label(self, name: str) -> str:
        """`pod/web`, `deployment.apps/web`: how kubectl names an object."""
        singular = self.singular or self.named.kind.lower()
        group = f".{self.named.group}" if self.named.group else ""
        return f"{singular}{group}/{name}"


class Catalog:
    """Everything served, in the server's order; per resource only the preferred version."""

    def __init__(self, kinds: Sequence[Kind]) -> None:
        self.kinds = kinds

    def find(self, word: str) -> Kind:
        """The resource a word means.  Raises Usage in kubectl's words."""
        plural, _, rest = word.lower().partition(".")
        for names in (_exact, _short):
            for kind in self.kinds:
                if plural in names(kind) and _in_group(kind.named, rest):
                    return kind
        raise Usage(f'the server doesn\'t have a resource type "{word}"')

    def category(self, word: str) -> list[Kind]:
        return [
            kind for kind in self.kinds if word in kind.categories and "list" in kind.named.verbs
        ]

    def of(self, obj: Object) -> Kind:
        """The resource of an object from a file.  Raises Usage."""
        api_version, kind = obj.get("apiVersion", ""), obj.get("kind", "")
        group = api_version.rpartition("/")[0]
        for one in self.kinds:
            if (one.named.group, one.named.kind) == (group, kind):
                return one
        raise Usage(
            f'resource mapping not found for name: "{obj["metadata"].get("name", "")}": no matches '
            f'for kind "{kind}" in version "{api_version}"\nensure CRDs are installed first'
        )


async def catalog(client: Client) -> Catalog:
    """Ask the server (aggregated discovery)."""
    kinds: list[Kind] = []
    for path in ("/api", "/apis"):
        async with client.raw("GET", path, headers={"Accept": _DISCOVERY}) as response:
            await raise_for_status(response)
            kinds += read(json.loads(await response.read()))
    return Catalog(kinds)


def read(document: Object) -> Iterable[Kind]:
    """The resources of one APIGroupDiscoveryList; subresources are not kinds of their own."""
    for group in document.get("items") or ():
        seen: set[str] = set()
        for version in group.get("versions") or ():
            for one in version.get("resources") or ():
                if one["resource"] not in seen and one.get("responseKind"):
                    seen.add(one["resource"])
                    yield _kind(group["metadata"].get("name", ""), version["version"], one)


def _kind(group: str, version: str, one: Object) -> Kind:
    named = Named(
        group, version, one["responseKind"]["kind"], one["resource"],
        one.get("scope") == "Namespaced", tuple(one.get("verbs") or ()),
    )  # fmt: skip
    return Kind(
        named,
        one.get("singularResource", ""),
        tuple(one.get("shortNames") or ()),
        tuple(one.get("categories") or ()),
    )


def _exact(kind: Kind) -> tuple[str, ...]:
    return (kind.named.plural, kind.singular, kind.named.kind.lower())


def _short(kind: Kind) -> tuple[str, ...]:
    return kind.short


def _in_group(named: Named, rest: str) -> bool:
    """`rest` is what follows the first dot: nothing, a group, or a version and a group."""
    return rest in ("", named.group, f"{named.version}.{named.group}".rstrip("."))
