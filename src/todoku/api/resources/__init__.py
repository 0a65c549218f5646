"""Built-in resources; one file per kind, joined to the generated table by `registry()`."""

from todoku.api.resources.registry import Registry, registry

__all__ = ["Registry", "registry"]
