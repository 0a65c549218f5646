"""The pod network.  See README.md beside this file."""

from todoku.network.network import NetworkConfig, PodNetwork
from todoku.network.wiring import Wiring

__all__ = ["NetworkConfig", "PodNetwork", "Wiring"]
