"""Results by the text they were worked out from, of which a digest is kept: definitions can be a megabyte each."""

from __future__ import annotations

import functools
import hashlib
import threading
from collections import OrderedDict
from collections.abc import Callable
from typing import Any, TypeVar

Result = TypeVar("Result")


def remembered(most: int) -> Callable[[Callable[..., Result]], Callable[..., Result]]:
    """Keep the last `most` results of a function of a text and further, hashable arguments; threads may share it."""

    def decorate(function: Callable[..., Result]) -> Callable[..., Result]:
        known: OrderedDict[Any, Result] = OrderedDict()
        lock = threading.Lock()

        @functools.wraps(function)
        def call(text: str, *arguments: Any) -> Result:
            key = (hashlib.blake2b(text.encode(), digest_size=16).digest(), *arguments)
            with lock:
                if key in known:
                    known.move_to_end(key)
                    return known[key]
            result = function(text, *arguments)  # two threads may both work it out
            with lock:
                known[key] = result
                while len(known) > most:
                    known.popitem(last=False)
            return result

        return call

    return decorate
