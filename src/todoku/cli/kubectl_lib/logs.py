"""`logs [-f]`."""

import sys
from urllib.parse import urlencode

from todoku.cli.kubectl_lib.pods import container_of, pod_of
from todoku.cli.kubectl_lib.refusals import Usage
from todoku.cli.kubectl_lib.session import Session
from todoku.client.client import raise_for_status
from todoku.client.names import built_in


async def logs(session: Session) -> int:
    """Run `logs`: the bytes as the container wrote them."""
    given = session.given
    if len(given.words) not in (1, 2):
        raise Usage("expected 'logs [-f] (POD | TYPE/NAME) [-c CONTAINER]'")
    pod = await pod_of(session, given.words[0])
    container = container_of(pod, given.container or (given.words[1] if given.words[1:] else ""))
    metadata = pod["metadata"]
    query = {
        "container": container,
        "follow": "true" if given.follow else "",
        "previous": "true" if given.previous else "",
        "timestamps": "true" if given.timestamps else "",
        "tailLines": "" if given.tail < 0 else str(given.tail),
        "sinceSeconds": "" if given.since is None else str(max(1, round(given.since))),
    }
    asked = urlencode({name: value for name, value in query.items() if value})
    path = built_in()["pods"].path(metadata["namespace"], metadata["name"], "log")
    async with session.client.raw("GET", f"{path}?{asked}") as response:
        await raise_for_status(response)
        async for part in response.chunks():
            sys.stdout.buffer.write(part)
            sys.stdout.buffer.flush()
    return 0
