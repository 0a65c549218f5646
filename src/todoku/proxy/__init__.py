"""Services compiled to nftables.  See README.md beside this file."""

from todoku.proxy.decide import Verdict, decide
from todoku.proxy.endpoints import Backend, NodeView
from todoku.proxy.frontends import Drop, Frontend, FrontendKey, frontends
from todoku.proxy.kernel import Kernel, owner_of
from todoku.proxy.proxy import Proxy, ProxyConfig
from todoku.proxy.table import Table

__all__ = [
    "Backend",
    "Drop",
    "Frontend",
    "FrontendKey",
    "Kernel",
    "NodeView",
    "Proxy",
    "ProxyConfig",
    "Table",
    "Verdict",
    "decide",
    "frontends",
    "owner_of",
]
