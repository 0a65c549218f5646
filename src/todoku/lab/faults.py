"""Bad cables: frames lost at a machine's switch port, and frames that arrive late.

Both live in the switch's namespace, at the port's name, so they outlast the machine's power.  Blocking.
Loss: nftables' bridge family, `numgen`.  Delay: the queueing discipline netem (tc-netem(8)), where the kernel has it.
"""

from __future__ import annotations

import errno

from pyroute2 import IPRoute
from pyroute2.netlink.exceptions import NetlinkError

from todoku.lab.lan import port
from todoku.linux.namespaces import inside_net
from todoku.linux.nftables import Nft, NftError

_STEPS = 10_000  # a hundredth of a percent
_NO_SUCH_KIND = (errno.ENOENT, errno.EOPNOTSUPP, errno.EINVAL)


class KernelLacks(Exception):
    """This kernel cannot do it; the text names the missing part."""


def lose(switch: str, machine: str, percent: float) -> None:
    """Drop this share of the frames from and of those to a machine; replaces an earlier loss.

    `switch` is the path of the switch's network namespace.  Raises KernelLacks.
    """
    table = _table(machine)
    last = max(round(percent * _STEPS / 100), 1) - 1
    rules = "\n".join(
        f"    {direction} {port(machine)} numgen random mod {_STEPS} <= {last} counter drop"
        for direction in ("iifname", "oifname")
    )
    try:
        Nft(switch).apply(
            f"add table bridge {table}\ndelete table bridge {table}\n"
            f"table bridge {table} {{\n  chain forward {{\n    type filter hook forward priority 0;\n{rules}\n  }}\n}}\n"
        )
    except NftError as error:
        raise KernelLacks(
            "frames cannot be dropped: the kernel lacks nftables' bridge family or `numgen` "
            f"(CONFIG_NF_TABLES_BRIDGE, CONFIG_NFT_NUMGEN): {error}"
        ) from error


def delay(switch: str, machine: str, milliseconds: float) -> None:
    """Hold every frame to a machine for this long; replaces an earlier delay.  Raises KernelLacks."""
    with inside_net(switch), IPRoute() as route:
        index = route.link_lookup(ifname=port(machine))[0]
        try:
            route.tc("replace", "netem", index, handle="1:", delay=round(milliseconds * 1000))
        except NetlinkError as error:
            if error.code in _NO_SUCH_KIND:
                raise KernelLacks(
                    "frames cannot be delayed: the kernel lacks the queueing discipline netem "
                    "(CONFIG_NET_SCH_NETEM; where it is a module: modprobe sch_netem)"
                ) from error
            raise


def mend(switch: str, machine: str) -> None:
    """Undo loss and delay; nothing to undo is fine."""
    table = _table(machine)
    with inside_net(switch), IPRoute() as route:
        for index in route.link_lookup(ifname=port(machine)):
            if any(one.get_attr("TCA_KIND") == "netem" for one in route.get_qdiscs(index)):
                route.tc("del", index=index, root=True)
    if table in _tables(switch):
        Nft(switch).apply(f"delete table bridge {table}\n")


def lossy(switch: str) -> frozenset[str]:
    """The switch ports that lose frames."""
    return frozenset(table.removeprefix(_PREFIX) for table in _tables(switch))


_PREFIX = "todoku-loss-"


def _tables(switch: str) -> list[str]:
    listed = Nft(switch).objects("tables bridge")
    names = [one["table"]["name"] for one in listed if "table" in one]
    return [name for name in names if name.startswith(_PREFIX)]


def _table(machine: str) -> str:
    return f"{_PREFIX}{port(machine)}"
