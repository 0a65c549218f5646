"""Counters, gauges and histograms in the Prometheus text format."""

from bisect import bisect_left
from collections.abc import Iterable, Iterator, Sequence

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
            yield f"{self.name}{_labels(labels)} {value:g}"


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
        yield f"{self.name}_sum {self._sum:g}"
        yield f"{self.name}_count {self.count}"


def text(families: Iterable[Metric]) -> str:
    """What a /metrics page shows."""
    return "".join(f"{line}\n" for family in families for line in family.lines())


def _labels(labels: Labels) -> str:
    if not labels:
        return ""
    return "{" + ",".join(f'{name}="{value}"' for name, value in labels) + "}"
