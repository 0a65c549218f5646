import asyncio
import os
import sys

import pytest

from todoku.linux import commands


async def test_a_program_s_output_errors_and_status():
    done = await commands.run(["/bin/sh", "-c", "echo out; echo err >&2; exit 3"])
    assert (done.status, done.output, done.error) == (3, b"out\n", b"err\n")


async def test_death_by_signal_is_128_and_its_number():
    assert (await commands.run(["/bin/sh", "-c", "kill -9 $$"])).status == 137


async def test_a_program_that_takes_too_long_is_killed_and_what_it_said_is_kept():
    with pytest.raises(commands.TimedOut) as failure:
        await commands.run(["/bin/sh", "-c", "echo said; exec sleep 100"], timeout_seconds=0.3)
    assert failure.value.done.output == b"said\n"


async def test_cancelling_kills_the_program(tmp_path):
    pid_file = tmp_path / "pid"
    task = asyncio.create_task(
        commands.run(["/bin/sh", "-c", f"echo $$ > {pid_file}; exec sleep 100"])
    )
    while not (pid_file.exists() and pid_file.read_text().strip()):
        await asyncio.sleep(0.01)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert not os.path.exists(f"/proc/{pid_file.read_text().strip()}")


async def test_much_output_is_cut_but_never_blocks():
    code = "import sys; sys.stdout.write('x' * 3_000_000)"
    done = await commands.run([sys.executable, "-c", code], limit_bytes=1000)
    assert (done.status, len(done.output)) == (0, 1000)


async def test_descriptors_are_given_by_number_and_no_others_leak():
    read, write = os.pipe()
    with os.fdopen(read, "rb") as pipe:
        script = f"echo hi >&9; ls -l /proc/$$/fd/{write} /proc/$$/fd/{read}"
        done = await commands.run(["/bin/sh", "-c", script], fds={9: write})
        os.close(write)
        assert pipe.read() == b"hi\n"
    assert "pipe" not in done.output.decode()


async def test_a_program_that_does_not_exist_is_an_error():
    with pytest.raises(FileNotFoundError):
        await commands.run(["/no/such/program"])
