"""The revisioned store: see README.md beside this file."""

from todoku.storage.memory import MemoryStore
from todoku.storage.store import (
    Change,
    Committed,
    Compacted,
    Compare,
    Delete,
    Entry,
    FutureRevision,
    Page,
    Put,
    SlowWatcher,
    Store,
    StoreFailed,
)

__all__ = [
    "Change",
    "Committed",
    "Compacted",
    "Compare",
    "Delete",
    "Entry",
    "FutureRevision",
    "MemoryStore",
    "Page",
    "Put",
    "SlowWatcher",
    "Store",
    "StoreFailed",
]
