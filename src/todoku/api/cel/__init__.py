"""CEL (cel.dev) with the libraries that Kubernetes adds, behind an interface of our own.

`compile(expression, variables)` gives a `Program`; `program.evaluate(bindings)` a plain Python value.  Expressions are
checked for syntax and for unknown names; values are dynamically typed.  `checking` and `admission` check with types.
Loops beyond the engine's budget are errors.
"""

from todoku.api.cel.engine import CelError, Program, compile_expression
from todoku.api.cel.values import to_cel

__all__ = ["CelError", "Program", "compile_expression", "to_cel"]
