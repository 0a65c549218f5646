"""Kernel settings of the calling thread's network namespace, through /proc/sys/net.

Names are paths below /proc/sys (`net/ipv4/conf/flannel.1/rp_filter`), because interface names have dots.
"""

from todoku.linux.namespaces import Netns, inside_net


def read(name: str, netns: Netns = None) -> str:
    """The value; raises FileNotFoundError if this kernel has no such setting."""
    with inside_net(netns), open(f"/proc/sys/{name}", encoding="ascii") as file:
        return file.read().strip()


def write(name: str, value: str | int, netns: Netns = None) -> None:
    """Set a value.  What /proc/sys/net shows is the namespace of whoever opens the file."""
    with inside_net(netns), open(f"/proc/sys/{name}", "w", encoding="ascii") as file:
        file.write(f"{value}\n")
