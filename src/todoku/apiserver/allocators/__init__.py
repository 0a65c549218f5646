"""Cluster addresses and node ports of Services."""

from todoku.apiserver.allocators.services import ServiceAddresses

__all__ = ["ServiceAddresses"]
