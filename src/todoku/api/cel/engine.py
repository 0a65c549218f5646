"""The CEL engine (cel-expr-python, Google's C++ CEL); the only module that imports it, and only when needed."""

from __future__ import annotations

import functools
from collections.abc import Mapping
from typing import Any

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
                raise CelError(_short(str(result.plain_value())))
            return result.plain_value()
        except CelError:
            raise
        except Exception as error:
            # The engine raises whatever its C++ or a Python overload raised; all of it means "no result".
            raise CelError(_short(str(error))) from error


def _short(text: str) -> str:
    """`NOT_FOUND: Key not found in map : "x"` without the engine's code and source listing."""
    head = text.split("\n", 1)[0]
    code, separator, rest = head.partition(": ")
    return rest if separator and code.isupper() else head


def compile_expression(text: str, variables: tuple[str, ...]) -> Program:
    """Compile an expression over dynamically typed variables; results are cached.  Raises CelError."""
    outcome = _compiled(text, variables)
    if isinstance(outcome, str):
        raise CelError(outcome)
    return outcome


@functools.lru_cache(maxsize=2048)
def _compiled(text: str, variables: tuple[str, ...]) -> Program | str:
    try:
        return Program(text, _environment(variables).compile(text))
    except Exception as error:  # the engine raises RuntimeError for everything
        return f"compilation failed: {str(error).removeprefix('INVALID_ARGUMENT: ').strip()}"


@functools.lru_cache(maxsize=64)
def _environment(variables: tuple[str, ...]) -> Any:
    from cel_expr_python import cel

    from todoku.api.cel.library import extension

    listed = "".join(f"- name: {name}\n" for name in _EXTENSIONS)
    config = cel.NewEnvConfigFromYaml(f"name: kubernetes\nextensions:\n{listed}")
    declared = dict.fromkeys(variables, cel.Type.DYN)
    return cel.NewEnv(config=config, variables=declared, extensions=[extension()])
