"""Functions for the engine, declared once for evaluation and once for type checking.

The engine takes no values of our own types from Python, so opaque values are maps with a tag where expressions are
evaluated.  Where they are only checked, each opaque type has its own name.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from cel_expr_python import cel


@dataclass(frozen=True, slots=True)
class Opaque:
    """A type with functions only, by the name that clients read in messages."""

    name: str


@dataclass(frozen=True, slots=True)
class OptionalOf:
    """An optional result: the engine takes a map that holds the value or is empty; see `formats.selected`."""

    inner: Any


STRING, BOOL, INT, DYN, DOUBLE = (
    cel.Type.STRING, cel.Type.BOOL, cel.Type.INT, cel.Type.DYN, cel.Type.DOUBLE,
)  # fmt: skip
MAP = cel.Type.Map(STRING, DYN)
LIST = cel.Type.List(DYN)
STRINGS = cel.Type.List(STRING)


@dataclass(frozen=True, slots=True)
class _Overload:
    result: Any
    parameters: tuple[Any, ...]
    impl: Callable[..., Any]
    member: bool


class Declarations:
    """Collects overloads by function name."""

    def __init__(self) -> None:
        self.overloads: dict[str, list[_Overload]] = {}

    def add(
        self,
        name: str,
        result: Any,
        parameters: Sequence[Any],
        impl: Callable[..., Any],
        *,
        member: bool = True,
    ) -> None:
        listed = self.overloads.setdefault(name, [])
        listed.append(_Overload(result, tuple(parameters), impl, member))


def type_for(kind: Any, *, checked: bool) -> Any:
    """The engine's type for a declared one."""
    if isinstance(kind, Opaque):
        return cel.Type.AbstractType(kind.name, []) if checked else MAP
    if isinstance(kind, OptionalOf):
        return cel.Type.Map(STRING, type_for(kind.inner, checked=checked))
    return kind


def extension_of(declarations: Declarations) -> Any:
    """For evaluation: one extension.  Overloads that differ in opaque types only are one there."""
    functions = [
        _function(name, overloads, checked=False)
        for name, overloads in declarations.overloads.items()
    ]
    return cel.CelExtension("kubernetes", functions)


def checked_functions(declarations: Declarations) -> tuple[Any, list[Any]]:
    """For checking: an extension and further functions.

    Only an extension may overload names that the standard extensions own, but it takes an opaque type for any type.
    """
    plain: list[Any] = []
    opaque: list[Any] = []
    for name, overloads in declarations.overloads.items():
        function = _function(name, overloads, checked=True)
        typed = any(
            isinstance(kind, Opaque | OptionalOf)
            for one in overloads
            for kind in (one.result, *one.parameters)
        )
        (opaque if typed else plain).append(function)
    return cel.CelExtension("kubernetes", plain), opaque


def _function(name: str, overloads: Sequence[_Overload], *, checked: bool) -> Any:
    built: dict[object, Any] = {}
    for number, one in enumerate(overloads):
        parameters = [type_for(kind, checked=checked) for kind in one.parameters]
        signature = (one.member, *(kind.name() for kind in parameters))
        if signature not in built:
            built[signature] = cel.Overload(
                f"k8s_{name.replace('.', '_')}_{number}",
                type_for(one.result, checked=checked),
                parameters,
                is_member=one.member,
                impl=one.impl,
            )
    return cel.FunctionDecl(name, list(built.values()))
