"""Counters, gauges and histograms in the Prometheus text format."""

from bisect import bisect_left
from collections.abc import Iterable, Iterator, Sequence
from typing import Protocol

Labels = tuple[tuple[str, str], ...]


class Metric:
    """One family; every value is told apart by its labels."""

    kind = "counter"

    def __init__(self, name: str, text: str) -> None:
        self.name, self._text = name, text
        self._values: dict[Labels, float] = {}

    def add(self, amount: float = 1, **labels: str) -> None:
        key = tuple(labels.items())
        self._values[key] = self._values.get(key, 0) + amount

    def set(self, value: float, **labels: str) -> None:
        self._values[tuple(labels.items())] = value

    def value(self, **labels: str) -> float:
        return self._values.get(tuple(labels.items()), 0)

    def lines(self) -> Iterator[str]:
        yield f"# HELP {self.name} {self._text}"
        yield f"# TYPE {self.name} {self.kind}"
        for labels, value in self._values.items() or [((), 0.0)]:
            yield f"{self.name}{_labels(labels)} {_number(value)}"


class Gauge(Metric):
    kind = "gauge"


class Histogram(Metric):
    kind = "histogram"

    def __init__(self, name: str, text: str, buckets: Sequence[float]) -> None:
        super().__init__(name, text)
        self._buckets = tuple(buckets)
        self._counts = [0] * (len(self._buckets) + 1)
        self._sum = 0.0

    def observe(self, value: float) -> None:
        self._counts[bisect_left(self._buckets, value)] += 1
        self._sum += value

    @property
    def count(self) -> int:
        return sum(self._counts)

    def lines(self) -> Iterator[str]:
        yield f"# HELP {self.name} {self._text}"
        yield f"# TYPE {self.name} {self.kind}"
        total = 0
        for bound, count in zip(self._buckets, self._counts, strict=False):
            total += count
            yield f'{self.name}_bucket{{le="{bound:g}"}} {total}'
        yield f'{self.name}_bucket{{le="+Inf"}} {self.count}'
        yield f"{self.name}_sum {_number(self._sum)}"
        yield f"{self.name}_count {self.count}"


class Value:
    """A number that a hot path keeps and changes in place."""

    __slots__ = ("value",)

    def __init__(self) -> None:
        self.value: float = 0


class Family:
    """A counter or gauge with fixed label names; `child` is looked up once, then `child.value` is changed."""

    def __init__(self, kind: str, name: str, text: str, labels: Sequence[str] = ()) -> None:
        self.name = name
        self._kind, self._text, self._labels = kind, text, tuple(labels)
        self._children: dict[tuple[str, ...], Value] = {}

    def child(self, *values: str) -> Value:
        found = self._children.get(values)
        if found is None:
            found = self._children[values] = Value()
        return found

    def clear(self) -> None:
        """Forget all values: of a family that is filled anew for every look at it."""
        self._children.clear()

    def lines(self) -> Iterator[str]:
        yield f"# HELP {self.name} {self._text}"
        yield f"# TYPE {self.name} {self._kind}"
        for values, child in self._children.items():
            labels = _labels(zip(self._labels, values, strict=True))
            yield f"{self.name}{labels} {_number(child.value)}"


class Buckets:
    """One histogram of a `Distribution`."""

    __slots__ = ("_bounds", "counts", "sum")

    def __init__(self, bounds: tuple[float, ...]) -> None:
        self._bounds = bounds
        self.counts = [0] * (len(bounds) + 1)
        self.sum: float = 0

    def observe(self, value: float) -> None:
        self.counts[bisect_left(self._bounds, value)] += 1
        self.sum += value


class Distribution:
    """A histogram with fixed label names; `child` is looked up once, then `child.observe` is called."""

    def __init__(
        self, name: str, text: str, buckets: Sequence[float], labels: Sequence[str] = ()
    ) -> None:
        self.name = name
        self._text, self._labels = text, tuple(labels)
        self._bounds = tuple(buckets)
        self._children: dict[tuple[str, ...], Buckets] = {}

    def child(self, *values: str) -> Buckets:
        found = self._children.get(values)
        if found is None:
            found = self._children[values] = Buckets(self._bounds)
        return found

    def lines(self) -> Iterator[str]:
        yield f"# HELP {self.name} {self._text}"
        yield f"# TYPE {self.name} histogram"
        for values, child in self._children.items():
            pairs = tuple(zip(self._labels, values, strict=True))
            total = 0
            for bound, count in zip((*self._bounds, None), child.counts, strict=True):
                total += count
                le = "+Inf" if bound is None else f"{bound:g}"
                yield f"{self.name}_bucket{_labels((*pairs, ('le', le)))} {total}"
            yield f"{self.name}_sum{_labels(pairs)} {_number(child.sum)}"
            yield f"{self.name}_count{_labels(pairs)} {total}"


class Shown(Protocol):
    """Whatever can be shown on a /metrics page."""

    def lines(self) -> Iterator[str]: ...


def text(families: Iterable[Shown]) -> str:
    """What a /metrics page shows."""
    return "".join(f"{line}\n" for family in families for line in family.lines())


def _labels(labels: Iterable[tuple[str, str]]) -> str:
    pairs = ",".join(f'{name}="{_escaped(value)}"' for name, value in labels)
    return f"{{{pairs}}}" if pairs else ""


def _escaped(value: str) -> str:
    return value.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")


def _number(value: float) -> str:
    """With all its digits."""
    return str(int(value)) if value == int(value) else repr(value)
