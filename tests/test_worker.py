"""One thread a model: calls never overlap, and what nobody waits for any more ends or never begins."""

from __future__ import annotations

import asyncio
import threading

import pytest

from omni.errors import PluginError
from omni.worker import Cancelled, Worker


@pytest.fixture
def worker():
    made = Worker("test")
    yield made
    made.close()


async def test_calls_run_one_after_the_other_in_one_thread_beside_the_loop(worker):
    running, seen = [], []

    def work(number):
        running.append(number)
        seen.append((number, len(running), threading.current_thread().name))
        running.remove(number)
        return number

    assert await asyncio.gather(*(worker.run(work, n) for n in range(5))) == [0, 1, 2, 3, 4]
    assert [(n, together) for n, together, _ in seen] == [(n, 1) for n in range(5)]
    assert {name for *_, name in seen} == {"omni-test_0"}


async def test_a_call_that_was_cancelled_before_it_began_never_begins(worker):
    go, begun = threading.Event(), []
    first = asyncio.ensure_future(worker.run(go.wait, 10))
    second = asyncio.ensure_future(worker.run(begun.append, "second"))
    await asyncio.sleep(0)
    second.cancel()
    await asyncio.wait((second,))
    go.set()
    assert await first
    await worker.run(begun.append, "third")
    assert begun == ["third"] and second.cancelled()


async def test_work_in_steps_ends_at_the_next_one_after_it_was_cancelled(worker):
    begun, go, ended = threading.Event(), threading.Event(), []

    def work(ticket):
        begun.set()
        go.wait(10)
        try:
            ticket.check()
            ended.append("went on")
        except Cancelled:
            ended.append("cancelled")
            raise

    call = asyncio.ensure_future(worker.run_steps(work))
    await asyncio.to_thread(begun.wait, 10)
    call.cancel()
    with pytest.raises(asyncio.CancelledError):
        await call
    go.set()
    await worker.run(lambda: None)
    assert ended == ["cancelled"]


async def test_a_closed_worker_says_so(worker):
    worker.close()
    worker.close()
    with pytest.raises(PluginError, match="'test' is closed"):
        await worker.run(print)
