"""What the durable store promised before its process was killed is there afterwards."""

import os
import signal
import subprocess
import sys

from todoku.storage.sqlite import SqliteStore

WRITER = """
import asyncio, sys
from todoku.storage import Put
from todoku.storage.sqlite import SqliteStore

async def main():
    store = await SqliteStore.open(sys.argv[1])

    async def write(lane):
        for n in range(100_000):
            await store.commit([], [Put(b"%d-%06d" % (lane, n), b"x" * 500)])
            print(f"{lane}-{n:06}", flush=True)

    async with asyncio.TaskGroup() as tasks:
        for lane in range(8):
            tasks.create_task(write(lane))

asyncio.run(main())
"""


async def test_no_acknowledged_write_is_lost_when_the_process_is_killed(tmp_path):
    path = str(tmp_path / "todoku.db")
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}
    process = subprocess.Popen(
        [sys.executable, "-c", WRITER, path], stdout=subprocess.PIPE, text=True, env=environment
    )
    acknowledged = [process.stdout.readline().strip() for _ in range(400)]
    process.send_signal(signal.SIGKILL)
    acknowledged += process.stdout.read().splitlines()[:-1]  # the last line may be cut
    process.wait(10)
    process.stdout.close()
    store = await SqliteStore.open(path)
    page = await store.range(b"", b"\xff")
    kept = {entry.key.decode() for entry in page.entries}
    assert set(acknowledged) <= kept
    assert len({entry.mod_revision for entry in page.entries}) == len(page.entries)
    await store.close()
