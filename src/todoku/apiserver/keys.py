"""Where objects lie in the store: `/registry/<group>/<plural>/[<namespace>/]<name>`; the core group is `core`."""

from __future__ import annotations

PREFIX = b"/registry/"
PREFIX_END = b"/registry0"


def prefix_of(group: str, plural: str) -> bytes:
    return f"/registry/{group or 'core'}/{plural}/".encode()


def key_of(prefix: bytes, namespace: str, name: str) -> bytes:
    return prefix + (f"{namespace}/{name}" if namespace else name).encode()


def end_of(prefix: bytes) -> bytes:
    """The first key behind all that begin with `prefix` (which ends in `/`)."""
    return prefix[:-1] + b"0"


def split(key: bytes) -> tuple[bytes, str, str]:
    """A key's collection prefix, namespace ("" if none) and name."""
    _, _, group, plural, *rest = key.split(b"/")
    prefix = b"/registry/%b/%b/" % (group, plural)
    if len(rest) == 1:
        return prefix, "", rest[0].decode()
    return prefix, rest[0].decode(), rest[1].decode()
