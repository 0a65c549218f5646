"""nftables: rules as text or JSON through libnftables, set elements as raw netlink batches.

`Nft.apply` is for what people read (tables, chains, rules): one buffer is one atomic transaction, and
an error points at the token.  `Elements` is for what changes all the time: adding one element to a map
of thousands takes some 70 µs, because nothing is parsed and nothing is listed.

Both work in the network namespace of the calling thread, or in the one that is named.
Sources: libnftables(3), libnftables-json(5), linux/netfilter/nf_tables.h.
"""

import ctypes
import functools
import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Final, Self

from todoku.linux import nfnetlink as nf
from todoku.linux.namespaces import Netns, inside_net

IPV4, IPV6, INET, BRIDGE = 2, 10, 1, 7
"""Families as the kernel numbers them (NFPROTO_*)."""

GOTO, JUMP, DROP, ACCEPT = -4, -3, 0, 1
"""Verdict codes of linux/netfilter/nf_tables.h and linux/netfilter.h."""

_NEWSETELEM, _GETSETELEM, _DELSETELEM = (nf.SUBSYS_NFTABLES << 8 | n for n in (12, 13, 14))
_LIST_TABLE, _LIST_SET, _LIST_ELEMENTS, _LIST_ELEM = 1, 2, 3, 1
_ELEM_KEY, _ELEM_DATA, _ELEM_FLAGS, _ELEM_TIMEOUT, _ELEM_EXPIRATION = 1, 2, 3, 4, 5
_ELEM_USERDATA, _ELEM_KEY_END = 6, 10
_DATA_VALUE, _DATA_VERDICT, _VERDICT_CODE, _VERDICT_CHAIN = 1, 2, 1, 2
_UDATA_COMMENT: Final = 0
_ELEMENT_LIST_BYTES: Final = 60_000
"""An attribute's length is 16 bits, so a long list of elements is cut into several messages."""

_OUTPUT_JSON, _OUTPUT_HANDLE = 1 << 4, 1 << 3


class NftError(RuntimeError):
    """libnftables refused a transaction; nothing of it took effect.

    The text is nft's own: line, column, reason and a marker under the token.
    """


@dataclass(frozen=True, slots=True)
class Verdict:
    """What a verdict map answers: `Verdict(GOTO, "endpoints-3")` or `Verdict(DROP)`."""

    code: int
    chain: str = ""


@dataclass(frozen=True, slots=True)
class Element:
    """One element of a named set or map, in the kernel's own bytes.

    Every field of a concatenated key is padded to four bytes, network order (a random index: host
    order).  `key_end` closes the range of an interval in a concatenated set.  `comment` is shown by
    `nft list`; it takes no part in equality of the data plane, but does here.
    """

    set: str
    key: bytes
    value: bytes | Verdict | None = None
    key_end: bytes | None = None
    comment: str = ""

    @property
    def identity(self) -> tuple[str, bytes, bytes | None]:
        """What the kernel tells elements apart by."""
        return self.set, self.key, self.key_end


class Nft:
    """Transactions through libnftables in one network namespace.

    A new context per call: a kept one grows, and nftables 1.1.0 recycled its cache wrongly.
    Blocking for 0.1 ms to some 10 ms; ctypes releases the interpreter lock.
    """

    def __init__(self, netns: Netns = None) -> None:
        self._netns = netns

    def apply(self, commands: str | Sequence[dict[str, Any]]) -> None:
        """Run nft text, or a list of libnftables-json commands, as one atomic transaction.

        Raises NftError with nft's own words; then nothing has changed.
        """
        self._run(
            commands if isinstance(commands, str) else json.dumps({"nftables": list(commands)})
        )

    def show(self, what: str = "ruleset", *, handles: bool = False) -> str:
        """`nft list WHAT` as text."""
        return self._run(f"list {what}", flags=_OUTPUT_HANDLE if handles else 0)

    def objects(self, what: str = "ruleset") -> list[dict[str, Any]]:
        """`nft -j -a list WHAT`: the objects, without the leading metainfo."""
        answer = json.loads(self._run(f"list {what}", flags=_OUTPUT_JSON | _OUTPUT_HANDLE))
        return [entry for entry in answer["nftables"] if "metainfo" not in entry]

    def chains(self, family: str, table: str) -> frozenset[str]:
        """Names of the chains of a table; empty if there is no such table."""
        return frozenset(
            entry["chain"]["name"]
            for entry in self.objects(f"chains {family}")
            if "chain" in entry and entry["chain"]["table"] == table
        )

    def _run(self, commands: str, flags: int = 0) -> str:
        with inside_net(self._netns):
            return _run(commands, flags)


def _run(commands: str, flags: int) -> str:
    library = _library()
    context = library.nft_ctx_new(0)
    if not context:
        raise MemoryError("libnftables gave no context")
    try:
        library.nft_ctx_buffer_output(context)
        library.nft_ctx_buffer_error(context)
        if commands.startswith("{"):
            flags |= _OUTPUT_JSON
        library.nft_ctx_output_set_flags(context, flags)
        failed = library.nft_run_cmd_from_buffer(context, commands.encode())
        output: bytes = library.nft_ctx_get_output_buffer(context) or b""
        complaint: bytes = library.nft_ctx_get_error_buffer(context) or b""
        if failed:
            raise NftError((complaint or output).decode(errors="replace").strip() or "nft failed")
        return output.decode()
    finally:
        library.nft_ctx_free(context)


@functools.cache
def _library() -> ctypes.CDLL:
    """libnftables with its eight functions declared.  Raises OSError if it is not installed."""
    library = ctypes.CDLL("libnftables.so.1")
    context = ctypes.c_void_p
    for name, result, arguments in (
        ("nft_ctx_new", context, [ctypes.c_uint32]),
        ("nft_ctx_free", None, [context]),
        ("nft_ctx_buffer_output", ctypes.c_int, [context]),
        ("nft_ctx_buffer_error", ctypes.c_int, [context]),
        ("nft_ctx_get_output_buffer", ctypes.c_char_p, [context]),
        ("nft_ctx_get_error_buffer", ctypes.c_char_p, [context]),
        ("nft_ctx_output_set_flags", None, [context, ctypes.c_uint]),
        ("nft_run_cmd_from_buffer", ctypes.c_int, [context, ctypes.c_char_p]),
    ):
        function = getattr(library, name)
        function.restype, function.argtypes = result, arguments
    return library


class Elements:
    """Element transactions on one table, over one netlink socket.  Blocking; one user at a time."""

    def __init__(self, family: int, table: str, netns: Netns = None) -> None:
        self._family, self._table = family, table
        self._socket = nf.NetfilterSocket(netns)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        value: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        self._socket.close()

    def apply(self, *, remove: Iterable[Element] = (), add: Iterable[Element] = ()) -> None:
        """Remove, then add, in one atomic transaction.

        An element whose value changes is both removed and added: the kernel never edits one in place,
        and packets see either the old or the new generation.  Raises NetlinkError (ENOENT: an element,
        set or chain is not there; EEXIST: the key holds another value); then nothing has changed.
        """
        messages = [
            *self._messages(_DELSETELEM, 0, remove, with_value=False),
            *self._messages(_NEWSETELEM, nf.F_CREATE, add, with_value=True),
        ]
        self._socket.batch(messages, subsystem=nf.SUBSYS_NFTABLES)

    def dump(self, set_name: str) -> list[Element]:
        """Every element of one set or map; raises NetlinkError(ENOENT) if there is none.

        For some milliseconds after thousands were added the kernel is moving them to a bigger hash table,
        and a listing may miss some or show them twice.
        """
        body = nf.text(_LIST_TABLE, self._table) + nf.text(_LIST_SET, set_name)
        found: list[Element] = []
        for answer in self._socket.dump(_GETSETELEM, self._family, body):
            elements = nf.attribute_map(answer).get(_LIST_ELEMENTS)
            if elements is not None:
                found += (_decode(set_name, payload) for _, payload in nf.attributes(elements))
        return found

    def _messages(
        self, kind: int, flags: int, elements: Iterable[Element], *, with_value: bool
    ) -> list[tuple[int, int, int, bytes]]:
        by_set: dict[str, list[bytes]] = {}
        for element in elements:
            by_set.setdefault(element.set, []).append(_encode(element, with_value))
        messages = []
        for name, encoded in by_set.items():
            head = nf.text(_LIST_TABLE, self._table) + nf.text(_LIST_SET, name)
            for part in _cut(encoded):
                messages.append((kind, flags, self._family, head + nf.nested(_LIST_ELEMENTS, part)))
        return messages


def _cut(encoded: Sequence[bytes]) -> Iterable[bytes]:
    part: list[bytes] = []
    size = 0
    for element in encoded:
        if size + len(element) > _ELEMENT_LIST_BYTES:
            yield b"".join(part)
            part, size = [], 0
        part.append(element)
        size += len(element)
    yield b"".join(part)


def _encode(element: Element, with_value: bool) -> bytes:
    parts = [nf.nested(_ELEM_KEY, nf.attr(_DATA_VALUE, element.key))]
    if element.key_end is not None:
        parts.append(nf.nested(_ELEM_KEY_END, nf.attr(_DATA_VALUE, element.key_end)))
    if with_value:
        if element.value is not None:
            parts.append(nf.nested(_ELEM_DATA, _encode_value(element.value)))
        if element.comment:
            parts.append(nf.attr(_ELEM_USERDATA, _encode_comment(element.comment)))
    return nf.nested(_LIST_ELEM, *parts)


def _encode_value(value: bytes | Verdict) -> bytes:
    if isinstance(value, bytes):
        return nf.attr(_DATA_VALUE, value)
    chain = nf.text(_VERDICT_CHAIN, value.chain) if value.chain else b""
    code = nf.attr(_VERDICT_CODE, value.code.to_bytes(4, "big", signed=True))
    return nf.nested(_DATA_VERDICT, code, chain)


def _encode_comment(comment: str) -> bytes:
    """nft's user data: type, length, text and a NUL; at most 128 bytes, as `nft` itself allows."""
    data = comment.encode()[:127] + b"\0"
    return bytes((_UDATA_COMMENT, len(data))) + data


def _decode(set_name: str, payload: memoryview) -> Element:
    fields = nf.attribute_map(payload)
    key_end = fields.get(_ELEM_KEY_END)
    data = fields.get(_ELEM_DATA)
    comment = fields.get(_ELEM_USERDATA)
    return Element(
        set=set_name,
        key=bytes(nf.attribute_map(fields[_ELEM_KEY])[_DATA_VALUE]),
        value=None if data is None else _decode_value(data),
        key_end=None if key_end is None else bytes(nf.attribute_map(key_end)[_DATA_VALUE]),
        comment="" if comment is None else _decode_comment(comment),
    )


def _decode_value(data: memoryview) -> bytes | Verdict:
    fields = nf.attribute_map(data)
    if _DATA_VALUE in fields:
        return bytes(fields[_DATA_VALUE])
    verdict = nf.attribute_map(fields[_DATA_VERDICT])
    chain = bytes(verdict.get(_VERDICT_CHAIN, b"")).rstrip(b"\0").decode()
    return Verdict(int.from_bytes(verdict[_VERDICT_CODE], "big", signed=True), chain)


def _decode_comment(data: memoryview) -> str:
    if len(data) < 3 or data[0] != _UDATA_COMMENT:
        return ""
    return bytes(data[2 : 2 + data[1]]).rstrip(b"\0").decode(errors="replace")
