"""Validation of paths inside volumes and file modes."""

from __future__ import annotations

from todoku.api.errors import FieldError, Path, invalid
from todoku.api.meta import Object


def backstep_problems(value: str, path: Path) -> list[FieldError]:
    """No `..` on the way (validatePathNoBacksteps)."""
    if ".." in value and ".." in value.split("/"):
        return [invalid(path, value, "must not contain '..'")]
    return []


def descending_problems(value: str, path: Path) -> list[FieldError]:
    """A relative path that does not climb (validateLocalDescendingPath)."""
    problems: list[FieldError] = []
    if value.startswith("/"):
        problems.append(invalid(path, value, "must be a relative path"))
    return problems + backstep_problems(value, path)


def file_path_problems(value: str, path: Path) -> list[FieldError]:
    """A relative path whose first element is nobody's own (ValidateLocalNonReservedPath)."""
    problems = descending_problems(value, path)
    if value.startswith("..") and not value.startswith("../"):
        problems.append(invalid(path, value, "must not start with '..'"))
    return problems


def mode_problems(holder: Object, field: str, path: Path) -> list[FieldError]:
    """`holder[field]` as permission bits, if it is there."""
    mode = holder.get(field)
    if isinstance(mode, int) and not 0 <= mode <= 0o777:
        text = "must be a number between 0 and 0777 (octal), both inclusive"
        return [invalid(path / field, mode, text)]
    return []
