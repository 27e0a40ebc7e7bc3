"""A child process is gone when it was ended, whatever it had still to say."""

from __future__ import annotations

import asyncio
import sys

import pytest

from omni.processes import end

PIPES = {"stdin": asyncio.subprocess.PIPE, "stdout": asyncio.subprocess.PIPE}


async def child(code: str) -> asyncio.subprocess.Process:
    return await asyncio.create_subprocess_exec(sys.executable, "-c", code, **PIPES)


async def test_a_child_whose_words_nobody_took_is_ended():
    process = await child("import sys; sys.stdout.write('x' * 1_000_000)")
    async with asyncio.timeout(30):
        while not process.stdout._paused:  # noqa: ASYNC110 - full: the pipe's end can't be seen behind it
            await asyncio.sleep(0.01)
        await end(process)
    assert process.returncode is not None


async def test_a_child_that_is_being_read_is_ended_and_so_is_one_that_has_gone():
    process = await child("input()")
    reading = asyncio.ensure_future(process.stdout.readexactly(1))
    await asyncio.sleep(0)  # the reading has begun
    async with asyncio.timeout(30):
        await end(process)
        await end(process)
    assert process.returncode is not None
    with pytest.raises(asyncio.IncompleteReadError):
        await reading
