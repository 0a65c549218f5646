"""A trace in three views and as JSON `todoku.dev/trace/v1`."""

from __future__ import annotations

from todoku.api.meta import Object
from todoku.reach.outcome import EXPLANATIONS, Code
from todoku.reach.trace.decode import as_json
from todoku.reach.trace.facts import Hop, Trace

SCHEMA = "todoku.dev/trace/v1"


def one_line(trace: Trace) -> str:
    """`rhel8host -> svc/web:80@lb  DELIVERED to web-7f  0.8 ms`."""
    to = next((hop.where for hop in trace.hops if hop.component == "SOCKET"), "")
    arrived = f" to {to}" if trace.disposition == "DELIVERED" and to else ""
    code = f" ({trace.code})" if trace.code and trace.disposition != "DELIVERED" else ""
    took = "" if trace.latency_ms is None else f"  {trace.latency_ms:.1f} ms"
    return f"{trace.source} -> {trace.target}  {trace.disposition}{arrived}{code}{took}"


def summary(trace: Trace) -> str:
    """Without the rules: route, ARP, translations, tunnel, delivery, reply."""
    return _lines(trace, [hop for hop in trace.hops if hop.component != "NFT"], rules=False)


def full(trace: Trace) -> str:
    """Every hop; each rule with its text, handle and the object behind it."""
    return _lines(trace, list(trace.hops), rules=True)


def _lines(trace: Trace, hops: list[Hop], *, rules: bool) -> str:
    width = max((len(hop.where) for hop in hops), default=0)
    lines = [one_line(trace), trace.packet]
    for number, hop in enumerate(hops, 1):
        mark = "reply" if hop.direction == "reply" else f"{number:>5}"
        lines.append(
            f"{mark} {hop.where.ljust(width)}  {hop.component:<7} {hop.action}  [{hop.evidence}]"
        )
        if rules and hop.rule is not None:
            rule = hop.rule
            about = f"  # {rule.object}" if rule.object else ""
            lines.append(f"{'':>6}{'':<{width}}  {'':<7} handle {rule.handle}: {rule.text}{about}")
    lines += [f"note: {note}" for note in trace.notes]
    lines += _why(trace)
    return "\n".join(lines)


def _why(trace: Trace) -> list[str]:
    if trace.disposition == "DELIVERED" or trace.code not in Code.__members__:
        return []
    explanation = EXPLANATIONS[Code(trace.code)]
    return [f"{trace.code}: {explanation.meaning}", explanation.remedy]


def to_json(trace: Trace) -> Object:
    """The report as plain data."""
    return {
        "schema": SCHEMA,
        "kind": "TraceReport",
        "from": trace.source,
        "to": trace.target,
        "packet": trace.packet,
        "disposition": trace.disposition,
        "code": trace.code,
        "latencyMs": None if trace.latency_ms is None else round(trace.latency_ms, 3),
        "notes": list(trace.notes),
        "observations": [
            {
                "seq": number,
                "node": hop.where,
                "direction": hop.direction,
                "component": hop.component,
                "action": hop.action,
                "before": hop.before,
                "after": hop.after,
                "evidence": hop.evidence,
                "rule": as_json(hop.rule),
            }
            for number, hop in enumerate(trace.hops, 1)
        ],
    }
