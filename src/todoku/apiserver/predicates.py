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
            self._check_fields()
        self.everything = self._labels.empty and self._fields.empty and not name

    def _check_fields(self) -> None:
        unknown = self._fields.unknown(_selectable(self._served))
        if unknown is not None:
            raise errors.BadRequest(_unsupported(self._served, unknown))

    def __call__(self, one: Cached) -> bool:
        if self._name and one.name != self._name:
            return False
        if not self._labels.matches(one.labels):
            return False
        return self._fields.empty or self._fields.matches(fields_of(self._served, one))

    def keys(self, collection: Collection) -> Iterable[bytes] | None:
        """Keys among which all matches are, from an index; None when there is no equality to use."""
        # An index reads objects as they come; those that a webhook must convert first cannot be read there.
        terms = () if self._served.needs_conversion else self._fields.requirements
        for term in terms:
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


def _selectable(served: Served) -> tuple[str, ...]:
    """The fields that a selector may name.  Kinds of the cluster that select by fields of their own take no namespace."""
    own = served.resource.strategy.selectable_field_names
    if served.resource.namespaced or not (own or served.custom):
        return ("metadata.name", "metadata.namespace", *own)
    return ("metadata.name", *own)


def _unsupported(served: Served, field: str) -> str:
    """How upstream words it: each kind with selectable fields of its own converts their names itself."""
    if served.name == "jobs.batch":
        return f'field label "{field}" not supported for batchv1.Job'
    if served.name == "resourceslices.resource.k8s.io":
        return f"field label not supported for resource.k8s.io/v1, Kind=ResourceSlice: {field}"
    if served.custom or served.resource.strategy.selectable_field_names:
        return f"field label not supported: {field}"
    return f'"{field}" is not a known field selector: only "metadata.name", "metadata.namespace"'
