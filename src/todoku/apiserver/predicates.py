"""Label and field selectors of one request, compiled against the cache."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping

from todoku.api import errors, selectors
from todoku.apiserver.cache import Collection
from todoku.apiserver.catalog import Served
from todoku.apiserver.encoding import Cached


class Predicate:
    """Whether a cached object is wanted; `keys` narrows the candidates by an index where one helps."""

    def __init__(self, served: Served, labels: str, fields: str, name: str = "") -> None:
        self._served = served
        self._name = name
        try:
            self._labels = selectors.parse_labels(labels)
            self._fields = selectors.parse_fields(fields)
        except selectors.SelectorError as problem:
            raise errors.BadRequest(str(problem)) from problem
        if fields:
            self._check_fields(labels, fields)
        self.everything = self._labels.empty and self._fields.empty and not name

    def _check_fields(self, labels: str, fields: str) -> None:
        unknown = self._fields.unknown(
            (
                "metadata.name",
                "metadata.namespace",
                *self._served.resource.strategy.selectable_field_names,
            )
        )
        if unknown is not None:
            raise errors.BadRequest(
                f'Unable to find "{_described(self._served)}" that match label selector "{labels}",'
                f' field selector "{fields}": field label not supported: {unknown}'
            )

    def __call__(self, one: Cached) -> bool:
        if self._name and one.name != self._name:
            return False
        if not self._labels.matches(one.labels):
            return False
        return self._fields.empty or self._fields.matches(fields_of(self._served, one))

    def keys(self, collection: Collection) -> Iterable[bytes] | None:
        """Keys among which all matches are, from an index; None when there is no equality to use."""
        for term in self._fields.requirements:
            if term.operator == "=" and term.field != "metadata.namespace":
                value_of = _field_reader(self._served, term.field)
                return collection.index(f"field:{self._served.serial}:{term.field}", value_of).keys(
                    term.value
                )
        for requirement in self._labels.requirements:
            if requirement.operator in ("=", "==", "in") and len(requirement.values) == 1:
                index = collection.index(f"label:{requirement.key}", _label_reader(requirement.key))
                return index.keys(next(iter(requirement.values)))
        return None


def fields_of(served: Served, one: Cached) -> Mapping[str, str]:
    """The selectable fields of a cached object, read from it once for each version."""
    if one.fields is not None and one.fields[0] == served.serial:
        return one.fields[1]
    fields = {"metadata.name": one.name, "metadata.namespace": one.namespace}
    fields.update(served.resource.strategy.selectable_fields(served.view(one)))
    one.fields = (served.serial, fields)
    return fields


def _field_reader(served: Served, key: str) -> Callable[[Cached], str | None]:
    return lambda one: fields_of(served, one).get(key, "")


def _label_reader(key: str) -> Callable[[Cached], str | None]:
    return lambda one: one.labels.get(key)


def _described(served: Served) -> str:
    return f"{served.resource.api_version}, Resource={served.resource.plural}"
