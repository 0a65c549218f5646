"""The queues as text for people: /debug/api_priority_and_fairness/dump_priority_levels, dump_queues, dump_requests."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping, Sequence

from todoku.apiserver.flowcontrol.control import FlowControl, Level, Note
from todoku.apiserver.flowcontrol.queueset import GUESS_SECONDS, Ticket

PREFIX = "/debug/api_priority_and_fairness/"
_LEAST_WIDTH = 8


def priority_levels(control: FlowControl, query: Mapping[str, str]) -> str:
    head = (
        "PriorityLevelName", "ActiveQueues", "IsIdle", "IsQuiescing", "WaitingRequests",
        "ExecutingRequests", "DispatchedRequests", "RejectedRequests", "TimedoutRequests",
        "CancelledRequests",
    )  # fmt: skip
    return _table(head, map(_level, control.levels()))


def _level(level: Level) -> list[object]:
    queues = level.queues
    return [
        level.name,
        sum(bool(queue.waiting) for queue in queues.queues),
        _word(queues.idle),
        _word(level.quiescing),
        queues.waiting,
        queues.executing,
        queues.dispatched,
        queues.rejected,
        queues.timed_out,
        queues.cancelled,
    ]


def queues(control: FlowControl, query: Mapping[str, str]) -> str:
    head = (
        "PriorityLevelName", "Index", "PendingRequests", "ExecutingRequests", "SeatsInUse",
        "NextDispatchR", "InitialSeatsSum", "MaxSeatsSum", "TotalWorkSum",
    )  # fmt: skip
    rows = [
        [
            level.name,
            queue.index,
            len(queue.waiting),
            queue.executing,
            queue.seats,
            _work(queue.next_r),
            queue.waiting_seats,
            queue.waiting_seats,
            _work(queue.waiting_seats * GUESS_SECONDS),
        ]
        for level in control.levels()
        for queue in level.queues.queues
    ]
    return _table(head, rows)


def requests(control: FlowControl, query: Mapping[str, str]) -> str:
    """The requests that wait; `includeRequestDetails` shows what they are."""
    head: tuple[str, ...] = (
        "PriorityLevelName", "FlowSchemaName", "QueueIndex", "RequestIndexInQueue",
        "FlowDistingsher", "ArriveTime", "InitialSeats", "FinalSeats", "AdditionalLatency",
        "StartTime",
    )  # fmt: skip
    details = bool(query.get("includeRequestDetails"))
    if details:
        head += (
            "UserName", "Verb", "APIPath", "Namespace", "Name", "APIVersion", "Resource",
            "SubResource",
        )  # fmt: skip
    rows = [
        _request(level, queue.index, index, ticket, details)
        for level in control.levels()
        for queue in level.queues.queues
        for index, ticket in enumerate(queue.waiting)
    ]
    return _table(head, rows)


def _request(level: Level, queue: int, index: int, ticket: Ticket, details: bool) -> list[object]:
    note = ticket.note
    assert isinstance(note, Note)
    row: list[object] = [
        level.name,
        note.flow.schema,
        queue,
        index,
        note.flow.distinguisher,
        _time(ticket.arrived),
        ticket.width,
        0,
        "0s",
        "0001-01-01T00:00:00Z",
    ]
    if details:
        info = note.info
        version = f"{info.group}/{info.version}" if info.group else info.version
        row += [
            note.user.name, info.verb, info.path, info.namespace, info.name, version,
            info.resource, info.subresource,
        ]  # fmt: skip
    return row


DUMPS: Mapping[str, Callable[[FlowControl, Mapping[str, str]], str]] = {
    PREFIX + "dump_priority_levels": priority_levels,
    PREFIX + "dump_queues": queues,
    PREFIX + "dump_requests": requests,
}


def _table(head: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    """Columns end with a comma and are padded to their widest cell, as Go's tabwriter does."""
    cells = [list(head), *([str(cell) for cell in row] for row in rows)]
    last = len(head) - 1
    widths = [max(len(row[column]) + 2 for row in cells) for column in range(last)]
    lines = (
        "".join(
            f"{cell},".ljust(max(width, _LEAST_WIDTH))
            for cell, width in zip(row, widths, strict=False)
        )
        + row[last]
        for row in cells
    )
    return "".join(f"{line}\n" for line in lines)


def _word(value: bool) -> str:
    return "true" if value else "false"


def _work(seat_seconds: float) -> str:
    return f"{seat_seconds:.8f}ss"


def _time(monotonic: float) -> str:
    """A reading of the monotonic clock as the time of day it was."""
    seconds = time.time() - (time.monotonic() - monotonic)
    nanos = int(seconds % 1 * 1e9)
    return time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(seconds)) + f".{nanos:09}Z"
