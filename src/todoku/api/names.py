"""Generated names: suffixes, hashes and their alphabet without vowels (k8s.io/apimachinery util/rand)."""

from __future__ import annotations

import json
import random
from typing import Any

ALPHABET = "bcdfghjklmnpqrstvwxz2456789"
SUFFIX_LENGTH = 5
MAX_GENERATED = 63 - SUFFIX_LENGTH

_random = random.SystemRandom()


def random_suffix(length: int = SUFFIX_LENGTH) -> str:
    return "".join(_random.choices(ALPHABET, k=length))


def generate(base: str) -> str:
    """A name for `generateName`: the base, cut so that the whole fits a DNS label, and five characters."""
    return base[:MAX_GENERATED] + random_suffix()


def safe_encode(text: str) -> str:
    """Maps each byte into the alphabet, so that hashes never spell words (rand.SafeEncodeString)."""
    return "".join(ALPHABET[byte % len(ALPHABET)] for byte in text.encode())


def fnv32a(data: bytes) -> int:
    value = 0x811C9DC5
    for byte in data:
        value = ((value ^ byte) * 0x01000193) & 0xFFFFFFFF
    return value


def template_hash(template: Any, collision_count: int | None = None) -> str:
    """The pod-template-hash of a pod template: stable, safe-encoded FNV-32a, up to ten characters.

    Upstream hashes a dump of its Go structures; ours hashes canonical JSON, so equal templates agree with each
    other but not with a real cluster's hash.
    """
    data = json.dumps(template, sort_keys=True, separators=(",", ":")).encode()
    if collision_count is not None:
        data += collision_count.to_bytes(8, "little")
    return safe_encode(str(fnv32a(data)))
