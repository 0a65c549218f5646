"""What a lab leaves on the machine, and what the machine looks like from outside."""

import os
import subprocess
from pathlib import Path

from todoku.lab.paths import RUN, Paths
from todoku.linux.cgroups import Cgroups
from todoku.linux.links import Links
from todoku.linux.process import all_pids


def traces(lab: str) -> list[str]:
    """Everything that is still there of a lab: processes, control groups, files."""
    paths = Paths(lab)
    found = [f"process {words}" for words in _command_lines() if lab in words]
    found += [str(one) for one in Cgroups().folders(f"/todoku/{lab}") if one.exists()]
    found += [str(one) for one in (paths.state, paths.run, paths.lock) if one.exists()]
    found += [line for line in _lines("/proc/self/mountinfo") if lab in line]
    return found


def machine() -> dict[str, object]:
    """What a lab must never change: interfaces, addresses, routes, rules, settings, mounts, named namespaces."""
    with Links() as links:
        interfaces = [(one.name, one.mac, one.mtu, one.up, one.master) for one in links.links()]
        addresses, routes = links.addresses(), links.routes(table=0)
    return {
        "interfaces": sorted(interfaces),
        "addresses": sorted(str(one) for one in addresses),
        "routes": sorted(str(one) for one in routes),
        "rules": _output("nft", "list", "ruleset"),
        "settings": _settings(),
        "mounts": sorted(one for one in _mount_points() if "/pytest-" not in one),
        "named namespaces": sorted(os.listdir("/run/netns")) if os.path.isdir("/run/netns") else [],
        "containers": os.path.exists("/var/lib/containers"),
        "host name": os.uname().nodename,
        "files": [
            Path(name).read_text()
            for name in ("/etc/hosts", "/etc/hostname", "/etc/resolv.conf")
            if os.path.exists(name)
        ],
    }


def run_folder_is_empty() -> bool:
    return not RUN.exists() or not any(RUN.iterdir())


def _settings() -> dict[str, str]:
    """The network's and the kernel's settings that say the same when read twice."""
    found = {}
    for root in ("/proc/sys/net", "/proc/sys/kernel"):
        for folder, _, files in os.walk(root):
            for name in files:
                path = os.path.join(folder, name)
                if not _VOLATILE & {name, os.path.basename(folder)}:
                    found[path] = _read(path)
    return found


_VOLATILE = {
    "ns_last_pid",
    "uuid",
    "boot_id",
    "entropy_avail",
    "random",
    "nf_conntrack_count",
    "netdev_budget_usecs",
    "pty",
    "dentry-state",
    "perf_event_max_sample_rate",
    "perf_cpu_time_max_percent",
    "sched_domain",
    "stable_secret",
}


def _mount_points() -> list[str]:
    return [f"{line.split()[4]} {line.split(' - ')[1]}" for line in _lines("/proc/self/mountinfo")]


def _command_lines() -> list[str]:
    found = []
    for pid in all_pids():
        try:
            words = Path(f"/proc/{pid}/cmdline").read_bytes().decode(errors="replace")
        except (FileNotFoundError, ProcessLookupError):
            continue
        if "pytest" not in words:
            found.append(words.replace("\0", " "))
    return found


def _lines(path: str) -> list[str]:
    return Path(path).read_text().splitlines()


def _read(path: str) -> str:
    try:
        with open(path, "rb") as file:
            return file.read(4096).decode(errors="replace")
    except OSError:
        return "unreadable"


def _output(*argv: str) -> str:
    return subprocess.run(argv, capture_output=True, text=True, check=True).stdout
