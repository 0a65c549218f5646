"""Work in a short Python process of its own: what it imports does not stay in this one's memory."""

import asyncio
import sys


class Failed(RuntimeError):
    """The process ended badly; the message is the last line that it wrote to standard error."""


async def run_apart(*arguments: str, data: bytes) -> bytes:
    """Run this Python with `arguments` and `data` as standard input; its standard output.  Raises Failed.

    Cancelling ends the process.
    """
    process = await asyncio.create_subprocess_exec(
        sys.executable, *arguments,
        stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
    )  # fmt: skip
    try:
        output, problem = await process.communicate(data)
    finally:
        if process.returncode is None:
            process.kill()
            await process.communicate()
    if process.returncode != 0:
        raise Failed(problem.decode().strip().rpartition("\n")[2])
    return output
