"""The supervisor: `python -m todoku.lab.supervisor LAB LISTENER-FD`, one process per lab, outside its namespaces.

It makes the machines, keeps the children alive, owns the listening sockets and answers the command line.  It can
die: the cluster runs on, and the next command starts another one, which adopts what `run.json` names.
"""

from __future__ import annotations

import asyncio
import os
import socket
import sys
import time
from collections.abc import Callable
from functools import partial
from typing import Any

from todoku.aio import log as logs
from todoku.aio.threads import to_the_end
from todoku.lab import lan, power, serving, state, sweep
from todoku.lab.composition import API_PORT, API_SERVER, children, ready
from todoku.lab.control import Progress, Refused
from todoku.lab.forks import ForkServer
from todoku.lab.keeper import Child, end, ended, keep
from todoku.lab.paths import Paths
from todoku.lab.places import namespaces_of
from todoku.lab.power import Machines
from todoku.lab.readiness import Phases, until_ready
from todoku.lab.sockets import api_listeners, recovered
from todoku.lab.state import Run, State
from todoku.lab.topology import LAN, Topology
from todoku.linux.namespaces import Namespaces
from todoku.linux.process import ProcessId, set_name

log = logs.get(__name__)

_GRACE_SECONDS = 3.0


class Supervisor:
    """One lab.  Everything here runs in one loop; blocking work goes to threads."""

    def __init__(self, paths: Paths, lasting: State, topology: Topology) -> None:
        self.paths, self.lasting, self.topology = paths, lasting, topology
        self.run = Run(processes={sweep.SUPERVISOR: _own_id()})
        self.forks = ForkServer(paths.name, paths.log("fork-server"), self._child_status)
        if self.forks.id is not None:
            self.run.processes[sweep.FORK_SERVER] = self.forks.id
        self.children = {child.name: child for child in children(paths, topology)}
        self.machines = Machines(paths, topology, self.forks, self.record)
        self.keeping: dict[str, asyncio.Task[None]] = {}
        self.changing = asyncio.Lock()
        self.ending = False
        self.finished = asyncio.Event()
        self.up = False
        self.lab: ProcessId | None = None

    # -- the life of the process --------------------------------------------------------------------

    async def serve(self, listener: socket.socket) -> None:
        """Answer requests until the lab is stopped or its init dies."""
        self.forks.attach()
        server = await serving.serve(listener, self._request, self._answered)
        try:
            await self.finished.wait()
        finally:
            server.close()
            for task in self.keeping.values():
                task.cancel()
            await asyncio.gather(*self.keeping.values(), return_exceptions=True)
            self.forks.close()

    def _answered(self) -> None:
        """The process ends after the answer that tells so."""
        if self.ending:
            self.finished.set()

    async def _request(self, request: dict[str, Any], progress: Progress) -> Any:
        work = self._operations().get(request["op"])
        if work is None:
            raise Refused(f"the supervisor knows no operation {request['op']!r}")
        return await work(request, progress)

    def _operations(self) -> dict[str, serving.Work]:
        return {
            "up": self._up,
            "stop": self._stop,
            "status": self._status,
            "power-off": self._power_off,
            "power-on": self._power_on,
            "pause": self._pause,
            "cut": lambda request, _: self._cable(request["machine"], connected=False),
            "heal": lambda request, _: self._cable(request["machine"], connected=True),
            "restart": self._restart,
        }

    # -- up, stop, status ---------------------------------------------------------------------------

    async def _up(self, request: dict[str, Any], progress: Progress) -> Any:
        """Bring the lab up and wait until its nodes and DNS are Ready.

        Given up or failed, a lab that was down is down again: deleted if it is new, stopped if it is not.
        """
        async with self.changing:
            phases = Phases()
            boots = not self.up
            late = ""
            try:
                if boots:
                    await self._boot(progress, phases)
                if request.get("wait", True):
                    late = await self._wait_until_ready(progress, phases)
                else:
                    self._ready_later()
            except BaseException:
                if boots:
                    await self._undo()
                raise
            self.lasting.ready = True
            state.write_state(self.paths, self.lasting)
            return {"seconds": phases.total(), "phases": phases.seconds, "late": late}

    async def _boot(self, progress: Progress, phases: Phases) -> None:
        progress("making certificates and machines")
        self.run.booted = time.time()
        self.record()
        await to_the_end(self._make())
        phases.lap("machines")
        progress("starting the API server, controllers and node agents")
        self.up = True
        for child in self.children.values():
            self._start(child)
        self._watch(self.lab_process(), self._lab_died)

    async def _make(self) -> None:
        """Certificates and machines.  Waits for both whatever becomes of one: what is half made cannot be undone."""
        making = asyncio.to_thread(self._certificates), self._make_machines()
        for outcome in await asyncio.gather(*making, return_exceptions=True):
            if isinstance(outcome, BaseException):
                raise outcome

    async def _make_machines(self) -> None:
        self.lab = await self.forks.lab(self.paths.name)
        self.run.processes[sweep.LAB] = self.lab
        self.record()
        await self.machines.build(self.lab)
        for name, process in self.machines.inits.items():
            self._watch(process, partial(self._machine_died, name))

    def _certificates(self) -> None:
        from todoku.lab import pki  # the fork server is not to wait for this import

        pki.ensure(self.paths, self.topology)
        pki.write_kubeconfigs(self.paths, self.topology, self.lasting.port)

    async def _wait_until_ready(self, progress: Progress, phases: Phases) -> str:
        """What is not Ready although the time is over, or ""."""
        nodes = [node.name for node in self.topology.nodes if self.machines.powered(node.name)]
        if not self.machines.powered(self.topology.control_plane.name):
            raise Refused("the control plane's power is off")
        return await until_ready(
            self.forks,
            self._inside_lab(),
            ready(self.paths, self.topology, nodes, since=self.run.booted),
            self.paths.log("ready"),
            progress=progress,
            phases=phases,
        )

    def _ready_later(self) -> None:
        """Nobody waits; but labels and DNS are to be applied all the same."""

        async def work() -> None:
            late = await self._wait_until_ready(log.info, Phases())
            if late:
                log.warning("Not ready in time", what=late)

        self.keeping["ready"] = asyncio.create_task(work(), name="ready")

    async def _undo(self) -> None:
        """Leave nothing of a lab that did not come up, but the state of one that was Ready before."""
        log.warning("Undoing what was made")
        self.ending = True
        await self._end_children(grace_seconds=0)
        await asyncio.shield(asyncio.to_thread(self._sweep, keep_state=self.lasting.ready))

    def _sweep(self, *, keep_state: bool) -> None:
        if self.lab is not None:
            self.lab.kill()
        sweep.remove_groups(self.paths.name)
        sweep.remove_run(self.paths)
        if not keep_state:
            sweep.remove_state(self.paths)

    async def _stop(self, _: dict[str, Any], progress: Progress) -> Any:
        """Shut down in order and keep the state."""
        async with self.changing:
            progress("stopping")
            for name in sorted(self.machines.paused):
                await asyncio.to_thread(self.machines.resume, name)  # a frozen process does not end
            await self._end_children(grace_seconds=_GRACE_SECONDS)
            self.up = False
            self.lasting.off = []
            state.write_state(self.paths, self.lasting)
            await asyncio.to_thread(self._sweep, keep_state=True)
            self.ending = True
            return None

    async def _end_children(self, *, grace_seconds: float) -> None:
        """End the API server last, so that the others' last words are written."""
        for task in self.keeping.values():
            task.cancel()
        await asyncio.gather(*self.keeping.values(), return_exceptions=True)
        alive = [child for child in self.children.values() if child.process is not None]
        others = [child for child in alive if child.name != API_SERVER]
        for group in (others, [child for child in alive if child.name == API_SERVER]):
            processes = [child.process for child in group if child.process is not None]
            await asyncio.gather(*(end(one, grace_seconds=grace_seconds) for one in processes))

    async def _status(self, _: dict[str, Any], __: Progress) -> Any:
        return {
            "children": {
                child.name: {
                    "pid": child.process.pid if child.process else None,
                    "place": child.place,
                    "restarts": child.restarts,
                }
                for child in self.children.values()
            },
            "machines": await asyncio.to_thread(self.machines.report),
        }

    # -- children -----------------------------------------------------------------------------------

    def _start(self, child: Child) -> None:
        if child.name not in self.keeping or self.keeping[child.name].done():
            work = keep(child, self._fork, self.record)
            self.keeping[child.name] = asyncio.create_task(work, name=f"keep-{child.name}")

    async def _fork(self, child: Child) -> ProcessId:
        if not self.forks.alive:
            await self._new_fork_server()
        if child.name == API_SERVER and not child.sockets:
            net = self.machines.net(child.place)
            child.sockets = api_listeners(net, API_PORT, self.lasting.port)
        config = {**child.config, "sockets": child.descriptors()}
        place = self._inside_lab()
        if child.place:
            place = namespaces_of(self.machines.inits[child.place].pid)
        process = await self.forks.child(
            child.name,
            child.main,
            config,
            namespaces=place,
            log=self.paths.log(child.name),
            descriptors=[one.fileno() for one in child.sockets.values()],
        )
        if child.place:
            power.join_group(self.paths.name, child.place, process.pid)
        return process

    async def _new_fork_server(self) -> None:
        log.warning("Fork server ended; starting another")
        self.forks.close()
        self.forks = ForkServer(self.paths.name, self.paths.log("fork-server"), self._child_status)
        self.forks.attach()
        self.machines.forks = self.forks
        if self.forks.id is not None:
            self.run.processes[sweep.FORK_SERVER] = self.forks.id
        self.record()

    def _child_status(self, pid: int, status: int) -> None:
        for child in self.children.values():
            if child.process is not None and child.process.pid == pid:
                log.info("Child exited", child=child.name, pid=pid, status=status)

    async def _restart(self, request: dict[str, Any], _: Progress) -> Any:
        """End a child; its keeper starts it again."""
        child = self.children.get(request["child"])
        if child is None or child.process is None:
            raise Refused(f"no child {request['child']!r} is running")
        await end(child.process, grace_seconds=_GRACE_SECONDS)

    def _inside_lab(self) -> Namespaces:
        folder = f"/proc/{self.lab_process().pid}/ns"
        return Namespaces(pid=f"{folder}/pid", mnt=f"{folder}/mnt")

    def lab_process(self) -> ProcessId:
        if self.lab is None:
            raise Refused("the lab is not up")
        return self.lab

    # -- power --------------------------------------------------------------------------------------

    async def _power_off(self, request: dict[str, Any], progress: Progress) -> Any:
        async with self.changing:
            name = self.machines.known(request["machine"])
            if not self.machines.powered(name):
                return {"changed": False}
            progress(f"cutting the power of {name}")
            await self._cut_power(name)
            self.lasting.off = sorted({*self.lasting.off, name})
            state.write_state(self.paths, self.lasting)
            return {"changed": True}

    async def _cut_power(self, name: str) -> None:
        """The cable first, so that nothing the dying machine says is heard."""
        await asyncio.to_thread(self.machines.unplug, name)
        on_it = [child for child in self.children.values() if child.place == name]
        for child in on_it:
            task = self.keeping.pop(child.name, None)
            if task is not None:
                task.cancel()
        await asyncio.to_thread(self.machines.kill, name)
        for child in on_it:
            child.process = None
            for one in child.sockets.values():
                one.close()  # a socket would keep the machine's network alive, and callers waiting
            child.sockets = {}
        self.record()

    async def _power_on(self, request: dict[str, Any], progress: Progress) -> Any:
        async with self.changing:
            name = self.machines.known(request["machine"])
            if name in self.machines.paused:
                await asyncio.to_thread(self.machines.resume, name)
                self.record()
                return {"changed": True}
            if self.machines.powered(name):
                return {"changed": False}
            progress(f"booting {name}")
            await self._boot_machine(name)
            return {"changed": True}

    async def _boot_machine(self, name: str) -> None:
        process = await self.machines.boot(self.lab_process(), name)
        self._watch(process, partial(self._machine_died, name))
        self.lasting.off = [one for one in self.lasting.off if one != name]
        state.write_state(self.paths, self.lasting)
        for child in self.children.values():
            if child.place == name:
                self._start(child)
        self.record()

    async def _pause(self, request: dict[str, Any], _: Progress) -> Any:
        async with self.changing:
            name = self.machines.known(request["machine"])
            if not self.machines.powered(name):
                raise Refused(f"the power of {name} is off")
            await asyncio.to_thread(self.machines.pause, name)
            self.record()
            return {"changed": True}

    async def _cable(self, machine: str, *, connected: bool) -> Any:
        async with self.changing:
            name = self.machines.known(machine)
            if not self.machines.powered(name):
                raise Refused(f"the power of {name} is off")
            await asyncio.to_thread(self.machines.cable, name, connected=connected)

    # -- deaths -------------------------------------------------------------------------------------

    def _watch(self, process: ProcessId, died: Callable[[], None]) -> None:
        async def watch() -> None:
            await ended(process)
            died()

        name = f"watch-{process.pid}"
        self.keeping[name] = asyncio.create_task(watch(), name=name)

    def _lab_died(self) -> None:
        if self.up:
            log.error("The lab's init was killed: every process of the lab is gone")
            self.up = False
            self.finished.set()

    def _machine_died(self, name: str) -> None:
        """A machine whose init died without being asked to has crashed; it boots again."""
        if not self.up or name not in self.machines.inits or not self.lab_process().alive():
            return
        log.warning("Machine crashed; booting it again", machine=name)
        self.keeping[f"reboot-{name}"] = asyncio.create_task(
            self._reboot(name), name=f"reboot-{name}"
        )

    async def _reboot(self, name: str) -> None:
        async with self.changing:
            if self.up and name in self.machines.inits and not self.machines.inits[name].alive():
                try:
                    await self._cut_power(name)
                    await self._boot_machine(name)
                    if name == LAN:
                        await self._restart_agents()
                except OSError as error:
                    log.error("Machine does not boot", machine=name, error=error)

    async def _restart_agents(self) -> None:
        """A node's VXLAN device dies with the interface below it: a starting agent makes it anew."""
        agents = [
            one.process
            for one in self.children.values()
            if one.process is not None and one.name.startswith("node-")
        ]
        await asyncio.gather(*(end(one, grace_seconds=_GRACE_SECONDS) for one in agents))

    # -- what is written down -----------------------------------------------------------------------

    def record(self) -> None:
        """Write down every process and socket, so that a successor or a sweep finds them."""
        fixed = {sweep.SUPERVISOR, sweep.FORK_SERVER, sweep.LAB}
        processes = {name: one for name, one in self.run.processes.items() if name in fixed}
        processes |= {f"place/{name}": one for name, one in self.machines.inits.items()}
        processes |= {
            f"child/{child.name}": child.process
            for child in self.children.values()
            if child.process is not None
        }
        self.run.processes = processes
        self.run.sockets = {
            child.name: dict(child.descriptors())
            for child in self.children.values()
            if child.sockets
        }
        self.run.paused = sorted(self.machines.paused)
        state.write_run(self.paths, self.run)

    def adopt(self, found: Run) -> None:
        """Take over a running lab: its machines, its children and their listening sockets."""
        self.lab = found.processes[sweep.LAB]
        self.run.processes[sweep.LAB] = self.lab
        for name in lan.place_names(self.topology):
            process = found.processes.get(f"place/{name}")
            if process is not None and process.alive():
                self.machines.inits[name] = process
        self.machines.paused = set(found.paused)
        self.run.booted = found.booted
        for child in self.children.values():
            process = found.processes.get(f"child/{child.name}")
            if process is not None and process.alive():
                child.process = process
                child.sockets = recovered(process.pid, found.sockets.get(child.name, {}))
        self.up = True

    def resume_keeping(self) -> None:
        """After `adopt`: keep every child of a machine that has power, and watch the inits."""
        self._watch(self.lab_process(), self._lab_died)
        for name, process in self.machines.inits.items():
            self._watch(process, partial(self._machine_died, name))
        for child in self.children.values():
            if not child.place or child.place in self.machines.inits:
                self._start(child)
        self.record()


def _own_id() -> ProcessId:
    found = ProcessId.of(os.getpid())
    assert found is not None  # this process runs
    return found


async def _main(name: str, listener: socket.socket) -> None:
    paths = Paths(name)
    lasting = state.read_state(paths)
    if lasting is None:
        raise SystemExit(f"there is no lab {name}")
    found = state.read_run(paths)
    supervisor = Supervisor(paths, lasting, lasting.parsed(name))
    if found is not None and sweep.lab_lives(found):
        supervisor.adopt(found)
        log.info("Adopted a running lab", lab=name)
        await _serve(supervisor, listener, adopted=True)
        return
    await _serve(supervisor, listener, adopted=False)


async def _serve(supervisor: Supervisor, listener: socket.socket, *, adopted: bool) -> None:
    if adopted:
        supervisor.resume_keeping()
    await supervisor.serve(listener)


if __name__ == "__main__":
    logs.configure()
    set_name("todoku-superv")
    asyncio.run(_main(sys.argv[1], socket.socket(fileno=int(sys.argv[2]))))
