"""Questions and answers as bytes; dnslib does the coding.  Pure.

Sources: RFC 1035, RFC 2308 (denials carry the SOA), RFC 6891 (EDNS).
"""

from collections.abc import Iterable
from dataclasses import dataclass

import dnslib

from todoku.dns.zone import TTL_SECONDS, Answer, Record

NOERROR, FORMERR, SERVFAIL, NXDOMAIN, NOTIMP, REFUSED = range(6)
BADVERS = 16
CLASSIC_BYTES = 512
EDNS_BYTES = 1232
"""What fits through the tunnel unfragmented (DNS flag day 2020)."""
_MAX_ROTATIONS = 8
_HEADER_BYTES = 12


class Malformed(ValueError):
    """Not a DNS query that could be answered at all."""


@dataclass(frozen=True, slots=True)
class Question:
    """A parsed query.  `size_bytes` is the largest UDP answer that the client takes."""

    query: dnslib.DNSRecord
    name: str
    kind: str
    size_bytes: int
    edns: bool
    refusal: int = NOERROR
    """A code other than NOERROR if the query must be refused as it is."""


def parse(data: bytes) -> Question:
    """Read a query; raises Malformed if it is not one."""
    if len(data) < _HEADER_BYTES or data[2] & 0x80:
        raise Malformed("not a query")
    try:
        query = dnslib.DNSRecord.parse(data)
    except (dnslib.DNSError, ValueError, IndexError) as error:
        raise Malformed(str(error)) from error
    if query.header.opcode != dnslib.OPCODE.QUERY:
        return Question(query, "", "", CLASSIC_BYTES, False, NOTIMP)
    if len(query.questions) != 1:
        return Question(query, "", "", CLASSIC_BYTES, False, FORMERR)
    question = query.questions[0]
    option = next((r for r in query.ar if r.rtype == dnslib.QTYPE.OPT), None)
    size = CLASSIC_BYTES
    refusal = NOERROR
    if option is not None:
        size = min(max(int(option.rclass), CLASSIC_BYTES), EDNS_BYTES)
        if (option.ttl >> 16) & 0xFF:
            refusal = BADVERS
    if question.qclass not in (1, 255):
        refusal = REFUSED
    name = str(question.qname).rstrip(".").lower()
    kind = str(dnslib.QTYPE.get(question.qtype))
    return Question(query, name, kind, size, option is not None, refusal)


def encode(question: Question, answer: Answer, soa: Record) -> tuple[bytes, ...]:
    """The answer in every rotation of its addresses, so that clients who take the first are spread."""
    code = NOERROR if answer.exists else NXDOMAIN
    authority = () if answer.records else (soa,)
    rotations = min(len(answer.records), _MAX_ROTATIONS) if _rotatable(answer.records) else 1
    return tuple(
        _pack(question, code, _rotated(answer.records, n), authority, answer.additional)
        for n in range(max(rotations, 1))
    )


def refuse(question: Question, code: int) -> bytes:
    """An answer that has nothing but a code."""
    return _pack(question, code, (), (), (), authoritative=False)


def malformed(data: bytes) -> bytes:
    """FORMERR with the identifier of what came; b"" if there is not even that."""
    if len(data) < _HEADER_BYTES or data[2] & 0x80:
        return b""
    return data[:2] + bytes((0x80 | (data[2] & 0x79), FORMERR)) + bytes(8)


def with_target(question: Question, answer: Answer, found: Iterable[dnslib.RR]) -> bytes:
    """A CNAME together with what an upstream server said about where it leads."""
    reply = _reply(question, NOERROR)
    for record in answer.records:
        reply.add_answer(_rr(record))
    for rr in found:
        reply.add_answer(rr)
    return bytes(reply.pack())


def truncate(packet: bytes, size: int) -> bytes:
    """The packet, or an empty one that tells the client to ask over TCP."""
    if len(packet) <= size:
        return packet
    reply = dnslib.DNSRecord.parse(packet)
    short = reply.truncate()
    short.questions = reply.questions
    return bytes(short.pack())


def follow_query(name: str, kind: str, identifier: int) -> bytes:
    """A recursive question of our own."""
    query = dnslib.DNSRecord.question(name, kind)
    query.header.id = identifier
    return bytes(query.pack())


def _pack(
    question: Question,
    code: int,
    records: Iterable[Record],
    authority: Iterable[Record],
    additional: Iterable[Record],
    *,
    authoritative: bool = True,
) -> bytes:
    reply = _reply(question, code)
    reply.header.aa = int(authoritative)
    for record in records:
        reply.add_answer(_rr(record))
    for record in authority:
        reply.add_auth(_rr(record))
    for record in additional:
        reply.add_ar(_rr(record))
    return bytes(reply.pack())


def _reply(question: Question, code: int) -> dnslib.DNSRecord:
    query = question.query
    header = dnslib.DNSHeader(
        id=query.header.id, qr=1, aa=0, ra=1, rd=query.header.rd, opcode=query.header.opcode,
        rcode=code & 15,
    )  # fmt: skip
    reply = dnslib.DNSRecord(header, questions=list(query.questions))
    if question.edns:
        reply.add_ar(dnslib.EDNS0(udp_len=EDNS_BYTES, ext_rcode=code >> 4))
    return reply


def _rr(record: Record) -> dnslib.RR:
    return dnslib.RR(
        record.name, getattr(dnslib.QTYPE, record.kind), rdata=_rdata(record), ttl=TTL_SECONDS
    )


def _rdata(record: Record) -> dnslib.RD:
    match record.kind:
        case "SRV":
            priority, weight, port, target = record.data.split()
            return dnslib.SRV(int(priority), int(weight), int(port), target)
        case "SOA":
            primary, mailbox, *times = record.data.split()
            return dnslib.SOA(primary, mailbox, tuple(int(number) for number in times))
        case kind:
            return getattr(dnslib, kind)(record.data)


def _rotatable(records: tuple[Record, ...]) -> bool:
    return len(records) > 1 and all(record.kind in ("A", "AAAA") for record in records)


def _rotated(records: tuple[Record, ...], start: int) -> tuple[Record, ...]:
    return records[start:] + records[:start]
