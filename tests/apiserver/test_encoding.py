"""What stays decoded in memory: the newest, up to a size, and nothing that a newer version replaced."""

from __future__ import annotations

import pytest

from todoku.apiserver import encoding
from todoku.apiserver.cache import Collection, Event
from todoku.apiserver.encoding import Cached, encode


@pytest.fixture
def kept(monkeypatch):
    one = encoding._Kept(10_000)
    monkeypatch.setattr(encoding, "_kept", one)
    return one


def version(revision: int, *, name: str = "a", size_bytes: int = 1000) -> Cached:
    obj = {
        "kind": "ConfigMap",
        "apiVersion": "v1",
        "metadata": {"name": name},
        "data": {"fill": "x" * size_bytes},
    }
    return Cached(encode(obj), revision, "default", name)


def test_an_object_is_decoded_once_and_carries_its_revision(kept):
    one = version(7)
    assert one.object() is one.object()
    assert one.object()["metadata"] == {"name": "a", "resourceVersion": "7"}


def test_a_changeable_object_is_a_copy(kept):
    one = version(7)
    one.fresh()["metadata"]["name"] = "b"
    assert one.object()["metadata"]["name"] == "a"


def test_only_so_many_bytes_stay_decoded_the_oldest_leave_first(kept):
    versions = [version(number) for number in range(1, 21)]
    for one in versions:
        one.object()
    decoded = [one.revision for one in versions if one.decoded is not None]
    assert decoded == list(range(21 - len(decoded), 21))
    assert 0 < sum(len(one.value) for one in versions if one.decoded) <= 10_000
    assert versions[0].object()["metadata"]["resourceVersion"] == "1"  # still there when asked for


def test_one_object_larger_than_all_is_kept(kept):
    large = version(1, size_bytes=50_000)
    assert large.object() is large.object()


def test_a_version_that_was_replaced_or_deleted_does_not_stay_decoded(kept):
    collection = Collection(b"/configmaps/", 0)
    first, second = version(1), version(2)
    collection.apply(Event(b"/configmaps/default/a", 1, first, None))
    first.object()
    collection.apply(Event(b"/configmaps/default/a", 2, second, first))
    second.object()
    assert first.decoded is None
    assert second.decoded is not None
    collection.apply(Event(b"/configmaps/default/a", 3, None, second))
    assert second.decoded is None
    assert not kept._ones
    assert kept._size == 0
