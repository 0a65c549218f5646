"""Words every room shares: wire objects, keys, group-version-kinds and how to read metadata."""

from typing import Any, NamedTuple, TypeAlias

Object: TypeAlias = dict[str, Any]
"""A Kubernetes object as JSON carries it; keys stay camelCase and unknown fields survive."""


class Key(NamedTuple):
    """Names one object of a known resource; `namespace` is "" for cluster-scoped objects."""

    namespace: str
    name: str

    def __str__(self) -> str:
        return f"{self.namespace}/{self.name}" if self.namespace else self.name


class GroupVersionKind(NamedTuple):
    """`apps/v1 Deployment`; the core group is ""."""

    group: str
    version: str
    kind: str

    @property
    def api_version(self) -> str:
        return f"{self.group}/{self.version}" if self.group else self.version


def key_of(obj: Object) -> Key:
    """The key of a wire object, from its metadata."""
    metadata = obj["metadata"]
    return Key(metadata.get("namespace", ""), metadata["name"])


def gvk_of(obj: Object) -> GroupVersionKind:
    """The group, version and kind that a wire object declares; missing parts are ""."""
    group, _, version = str(obj.get("apiVersion", "")).rpartition("/")
    return GroupVersionKind(group, version, str(obj.get("kind", "")))


def controller_of(obj: Object) -> Object | None:
    """The owner reference with `controller: true`, if any."""
    for owner in obj["metadata"].get("ownerReferences", ()):
        if owner.get("controller"):
            return dict(owner)
    return None


def copy(obj: Any) -> Any:
    """A deep copy of a wire value; about twice as fast as `copy.deepcopy`."""
    if isinstance(obj, dict):
        return {key: copy(value) for key, value in obj.items()}
    if isinstance(obj, list):
        return [copy(value) for value in obj]
    return obj
