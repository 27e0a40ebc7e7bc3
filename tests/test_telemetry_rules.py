"""Inference never blocks the loop: the watchdog names whoever does. Metrics and spans are bounded."""

import asyncio
import time
from types import SimpleNamespace

import pytest

from omni.events import AudioIn, StageTiming
from omni.session import Session
from omni.telemetry import KEPT, LoopWatchdog, SessionMetrics, Tracer, memory_mb, percentile


async def test_a_stall_over_50_ms_is_reported_with_the_task_that_caused_it():
    seen = []
    watchdog = LoopWatchdog(on_stall=seen.append)
    watchdog.start()

    async def blocks_the_loop():
        end = time.monotonic() + 0.2
        while time.monotonic() < end:
            pass

    began, stalls = time.monotonic(), []
    while not stalls:  # on a starved machine the watchdog itself may be late, and then it rightly says nothing
        await asyncio.create_task(blocks_the_loop(), name="culprit")
        await asyncio.sleep(0.05)
        stalls = [stall for stall in seen if "culprit" in stall.task and stall.seconds > 0.1]
    elapsed = time.monotonic() - began
    watchdog.stop()
    stall = stalls[0]
    assert "blocks_the_loop" in stall.task
    assert any("blocks_the_loop" in line for line in stall.where)
    assert 0.1 < stall.seconds <= elapsed and watchdog.worst_s >= stall.seconds
    assert "blocks_the_loop" in str(stall) and watchdog.snapshot()["count"] == len(seen)


async def test_waiting_is_no_stall():
    watchdog = LoopWatchdog(threshold_s=0.5)
    watchdog.start()
    await asyncio.to_thread(time.sleep, 0.15)
    await asyncio.sleep(0.1)
    watchdog.stop()
    watchdog.stop()
    assert watchdog.count == 0


async def test_stage_times_and_mailboxes_are_counted():
    session = Session(host=SimpleNamespace())
    metrics = SessionMetrics(session)
    box = session.bus.subscribe(AudioIn, capacity=2, name="slow reader")
    for number in range(5):
        session.publish(AudioIn, pcm=b"\0\0", seq=number)
    for number in range(KEPT + 10):
        session.publish(StageTiming, stage="asr", seconds=number / 1000)
    snapshot = metrics.snapshot()
    assert snapshot["stages"]["asr"]["count"] == KEPT and snapshot["stages"]["asr"]["p95_s"] > 0.4
    [counted] = [entry for entry in snapshot["mailboxes"] if entry["name"] == "slow reader"]
    assert counted["depth"] == 2 and counted["dropped"] == 3 and counted["oldest_s"] >= 0
    metrics.close()
    session.publish(StageTiming, stage="tts", seconds=1.0)
    assert "tts" not in metrics.snapshot()["stages"]
    session.bus.unsubscribe(box)


def test_percentiles():
    assert percentile([], 50) == 0.0 and percentile([3.0], 95) == 3.0
    assert percentile(range(101), 50) == 50 and percentile(range(101), 95) == 95


def test_memory_is_that_of_this_process():
    assert 10 < memory_mb() < 100_000


def test_spans_nest_and_say_what_failed():
    tracer = Tracer()
    with pytest.raises(ValueError), tracer.span("turn", turn=3) as outer, tracer.span("tool"):
        raise ValueError("no")
    inner, turn = tracer.spans
    assert inner.parent_id == turn.span_id == outer.span_id and inner.trace_id == turn.trace_id
    assert inner.status == "ERROR" and "no" in inner.attributes["error"] and turn.attributes["turn"] == 3
    assert turn.seconds >= inner.seconds >= 0 and len(turn.trace_id) == 32
    for _ in range(KEPT + 5):
        with tracer.span("x"):
            pass
    assert len(tracer.spans) == KEPT


def test_spans_reach_opentelemetry_when_asked():
    pytest.importorskip("opentelemetry", reason="opentelemetry-api is not installed")
    with Tracer(opentelemetry=True).span("work", size=3, odd={"a": 1}) as span:
        pass
    assert span.status == "OK"
