"""`python -m todoku.loadbalancer controller|speaker FLAGS`: the two processes of the load balancer's pods."""

import asyncio
import signal
import sys
from collections.abc import Awaitable, Callable

from todoku.aio import log as logs
from todoku.loadbalancer import options


def main(arguments: list[str]) -> int:
    """Run one of the processes until SIGTERM or SIGINT; returns the exit status."""
    component = arguments[0] if arguments else ""
    if component not in ("controller", "speaker"):
        print("usage: python -m todoku.loadbalancer controller|speaker [FLAGS]", file=sys.stderr)
        return 2
    given = options.read(component, arguments[1:])
    logs.configure(given.log_level)
    run = _process(component)
    log = logs.get(__name__)
    log.info("Todoku load balancer starts", component=component, namespace=given.namespace)
    try:
        asyncio.run(_until_told(run, given))
    except Exception:
        log.exception("Cannot go on", component=component)
        return 1
    return 0


def _process(component: str) -> Callable[[options.Options], Awaitable[None]]:
    """Only the one that runs is imported: memory."""
    if component == "controller":
        from todoku.loadbalancer import controller

        return controller.run
    from todoku.loadbalancer import speaker

    return speaker.run


async def _until_told(
    run: Callable[[options.Options], Awaitable[None]], given: options.Options
) -> None:
    """Run until SIGTERM; as the first process of a container it must ask for that signal."""
    loop = asyncio.get_running_loop()
    work = asyncio.ensure_future(run(given))
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, work.cancel)
    try:
        await work
    except asyncio.CancelledError:
        logs.get(__name__).info("Stopped")


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
