"""The CEL engine (cel-expr-python, Google's C++ CEL); imported only when needed."""

from __future__ import annotations

import functools
import itertools
import operator
from collections.abc import Collection, Mapping
from typing import Any

from todoku.api.cel import wording

_EXTENSIONS = (
    "strings", "math", "optional", "bindings", "encoders", "sets", "lists", "regex", "two-var-comprehensions",
)  # fmt: skip


class CelError(ValueError):
    """The expression cannot be compiled, or its evaluation failed; the message is for people."""


class Program:
    """A compiled expression; evaluating has no side effects."""

    __slots__ = ("_expression", "result_type", "text")

    def __init__(self, text: str, expression: Any) -> None:
        self.text = text
        self._expression = expression
        self.result_type = str(expression.return_type().name())

    def evaluate(self, bindings: Mapping[str, Any]) -> Any:
        """The plain result.  Raises CelError when the evaluation fails (a missing key, a bad conversion, a loop)."""
        try:
            result = self._expression.eval(data=dict(bindings))
            if result.type().name() == "ERROR":
                raise CelError(wording.failure(str(result.plain_value())))
            return result.plain_value()
        except CelError:
            raise
        except Exception as error:
            # The engine raises whatever its C++ or a Python overload raised; all of it means "no result".
            raise CelError(wording.failure(str(error))) from error


def compile_expression(text: str, variables: tuple[str, ...]) -> Program:
    """Compile an expression over dynamically typed variables; results are cached.  Raises CelError."""
    outcome = _compiled(text, variables)
    if isinstance(outcome, str):
        raise CelError(outcome)
    return outcome


@functools.lru_cache(maxsize=2048)
def _compiled(text: str, variables: tuple[str, ...]) -> Program | str:
    try:
        return Program(text, compiled(_environment(variables), text, variables))
    except CelError as error:
        return str(error)


def compiled(environment: Any, text: str, declared: Collection[str]) -> Any:
    """The engine's expression.  Raises CelError."""
    from todoku.api.cel.formats import SELECTION, selected

    try:
        return environment.compile(selected(text))
    except Exception as error:  # the engine raises RuntimeError for everything
        problem = wording.compile_problem(str(error).replace(SELECTION, ""), declared)
        raise CelError(f"compilation failed: {problem}") from None


@functools.lru_cache(maxsize=64)
def _environment(variables: tuple[str, ...]) -> Any:
    from cel_expr_python import cel

    from todoku.api.cel.library import extension

    declared = dict.fromkeys(variables, cel.Type.DYN)
    return cel.NewEnv(config=_config(), variables=declared, extensions=[extension()])


def checked_environment(variables: Mapping[str, Any], pool: Any) -> Any:
    """An environment for checking only; `variables` have an engine's type or an `Opaque` each."""
    from cel_expr_python import cel

    from todoku.api.cel.declarations import type_for
    from todoku.api.cel.library import checked

    declared = {name: type_for(kind, checked=True) for name, kind in variables.items()}
    extension, functions = checked()
    return cel.NewEnv(
        descriptor_pool=pool,
        config=_config(),
        variables=declared,
        extensions=[extension, _comparisons()],
        functions=functions,
    )


@functools.cache
def _comparisons() -> Any:
    """Kubernetes allows 1 < 1.5; the engine's checker has to be told, its evaluation does it anyway."""
    from cel_expr_python import cel

    numbers = {"int64": cel.Type.INT, "uint64": cel.Type.UINT, "double": cel.Type.DOUBLE}
    declared = []
    for function, (word, holds) in _ORDERINGS.items():
        overloads = [
            cel.Overload(
                f"{word}_{left}_{right}",
                cel.Type.BOOL,
                [numbers[left], numbers[right]],
                is_member=False,
                impl=holds,
            )
            for left, right in itertools.permutations(numbers, 2)
        ]
        declared.append(cel.FunctionDecl(function, overloads))
    return cel.CelExtension("comparisons", declared)


_ORDERINGS = {
    "_<_": ("less", operator.lt),
    "_<=_": ("less_equals", operator.le),
    "_>_": ("greater", operator.gt),
    "_>=_": ("greater_equals", operator.ge),
}


def _config() -> Any:
    from cel_expr_python import cel

    listed = "".join(f"- name: {name}\n" for name in _EXTENSIONS)
    return cel.NewEnvConfigFromYaml(f"name: kubernetes\nextensions:\n{listed}")
