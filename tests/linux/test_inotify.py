import asyncio

from todoku.linux.inotify import Watch


async def test_a_file_that_was_written_is_named(tmp_path):
    seen = asyncio.Queue()
    with Watch(str(tmp_path), seen.put_nowait):
        (tmp_path / "one").write_text("x")
        (tmp_path / "two.tmp").write_text("x")
        (tmp_path / "two.tmp").rename(tmp_path / "two")
        async with asyncio.timeout(2):
            assert [await seen.get() for _ in range(3)] == ["one", "two.tmp", "two"]


async def test_after_closing_nothing_is_told(tmp_path):
    seen = []
    watch = Watch(str(tmp_path), seen.append)
    watch.close()
    watch.close()
    (tmp_path / "one").write_text("x")
    await asyncio.sleep(0.05)
    assert seen == []
