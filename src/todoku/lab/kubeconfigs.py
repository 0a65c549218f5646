"""Merging a lab's kubeconfig into the user's own."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import yaml

from todoku.lab.lifecycle import LabError

_LISTS = ("clusters", "users", "contexts")


def merge(source: Path, target: Path) -> str:
    """Add the lab's cluster, user and context to `target` and make it current; the context's name.

    Entries of the same names are replaced, all others stay.  Raises LabError if `target` is no kubeconfig.
    """
    ours = yaml.safe_load(source.read_text())
    theirs = _read(target)
    merged = {"apiVersion": "v1", "kind": "Config", **theirs, **_entries(theirs, ours)}
    merged["current-context"] = ours["current-context"]
    target.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    temporary = target.with_name(f".{target.name}.new")
    with open(os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w") as file:
        yaml.safe_dump(merged, file, sort_keys=False)
    os.replace(temporary, target)
    return str(ours["current-context"])


def _read(target: Path) -> dict[str, Any]:
    if not target.exists():
        return {}
    try:
        found = yaml.safe_load(target.read_text())
    except yaml.YAMLError as error:
        raise LabError(f"{target} is not YAML ({error}); repair or move it") from error
    if found is None:
        return {}
    if not isinstance(found, dict) or found.get("kind", "Config") != "Config":
        raise LabError(f"{target} is no kubeconfig; name another with KUBECONFIG")
    return found


def _entries(theirs: dict[str, Any], ours: dict[str, Any]) -> dict[str, Any]:
    found = {}
    for key in _LISTS:
        new = {entry["name"] for entry in ours[key]}
        kept = [entry for entry in theirs.get(key) or [] if entry["name"] not in new]
        found[key] = kept + ours[key]
    return found
