"""Composes the parts that decide about requests: authentication, authorization, admission, allocators, streaming."""

from __future__ import annotations

from todoku.apiserver.config import Components, Config, Objects


def standard(config: Config, objects: Objects) -> Components:
    """The parts of a real control plane, in the order upstream runs them."""
    return Components()
