"""A running server's page in a real, headless Chromium, with a microphone that hears a file."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import shutil
import wave
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from omni.server.serve import serve
from omni.testing import PATIENCE_S, until

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
NEEDS_CHROMIUM = pytest.mark.skipif(CHROMIUM is None, reason="no Chromium on this machine")
#: The marks of a test that needs a browser.
IN_BROWSER = (pytest.mark.browser, NEEDS_CHROMIUM)
FLAGS = ("--no-sandbox", "--disable-quic", "--disable-background-networking")
#: Microphone, camera and loudspeaker are there and nobody has to be asked.
DEVICES = (
    "--use-fake-ui-for-media-stream", "--use-fake-device-for-media-stream",
    "--autoplay-policy=no-user-gesture-required",
)  # fmt: skip
#: Collects what the loudspeaker plays in `window.recorded`; the page's own node is tapped, nothing is simulated.
RECORDER = """registerProcessor("recorder", class extends AudioWorkletProcessor {
  process([input]) { if (input[0]) this.port.postMessage(input[0].slice()); return true; }
});"""
_RECORD = """async url => {
  const { speaker } = window.omniPage;
  await speaker.unlock();
  await speaker.context.audioWorklet.addModule(url);
  const tap = new AudioWorkletNode(speaker.context, "recorder", { numberOfOutputs: 0 });
  window.recorded = [];
  tap.port.onmessage = ({ data }) => window.recorded.push(data);
  speaker.node.connect(tap);
  return speaker.context.sampleRate;
}"""
_RECORDED = """() => {
  const all = new Float32Array(window.recorded.length * 128);
  window.recorded.forEach((block, i) => all.set(block, i * 128));
  const bytes = new Uint8Array(all.buffer);
  let text = "";
  for (let i = 0; i < bytes.length; i += 32768) text += String.fromCharCode(...bytes.subarray(i, i + 32768));
  return btoa(text);
}"""


@contextlib.asynccontextmanager
async def served(runtime: Any) -> AsyncIterator[str]:
    """The address, key included, under which `runtime` is served; the server ends with the block, the runtime stays."""
    address: asyncio.Future[str] = asyncio.get_running_loop().create_future()
    stop = asyncio.Event()
    server = asyncio.create_task(serve(runtime, port=0, ready=address.set_result, stop=stop))
    try:
        yield await asyncio.wait_for(address, PATIENCE_S)
    finally:
        stop.set()
        await server


@dataclass
class Browser:
    """A headless Chromium, what its pages complained of, and what they asked for."""

    chromium: Any
    problems: list[str] = field(default_factory=list)
    requests: list[str] = field(default_factory=list)

    async def new_page(self, **options: Any) -> Any:
        """A page in a context of its own (`options`: of Playwright's `new_context`), with nothing moving by itself."""
        context = await self.chromium.new_context(**{"reduced_motion": "reduce", **options})
        page = await context.new_page()
        page.on("console", lambda m: self.problems.append(m.text) if m.type in ("error", "warning") else None)
        page.on("pageerror", lambda e: self.problems.append(str(e)))
        page.on("request", lambda r: self.requests.append(r.url))
        return page

    async def open(self, address: str, **options: Any) -> Any:
        """A page that shows `address` and has its line to the server."""
        page = await self.new_page(**options)
        await page.goto(address)
        await eventually(page, "window.omniPage?.line.open")
        return page


@contextlib.asynccontextmanager
async def browser(*flags: str) -> AsyncIterator[Browser]:
    """A headless Chromium with these flags besides `FLAGS`."""
    from playwright.async_api import async_playwright

    async with async_playwright() as playwright:
        chromium = await playwright.chromium.launch(executable_path=CHROMIUM, args=[*FLAGS, *flags])
        yield Browser(chromium)
        await chromium.close()


async def eventually(page: Any, expression: str, why: Callable[[], Any] = str) -> Any:
    """The value of a JavaScript expression, once it is true (Playwright waits by `eval`, which the page forbids)."""
    return await until(lambda: page.evaluate(expression), expression, why=why)


async def record(page: Any, recorder: str) -> float:
    """Record what the loudspeaker plays from now on, with the `RECORDER` at this address. Returns samples a second."""
    return await page.evaluate(_RECORD, recorder)


async def recorded(page: Any) -> np.ndarray:
    """All samples that left the loudspeaker since `record`, [n]."""
    return np.frombuffer(base64.b64decode(await page.evaluate(_RECORDED)), np.float32)


# -- what the fake microphone hears -------------------------------------------------------------------

MIC_RATE = 48_000


async def spoken(voice: Any, text: str) -> np.ndarray:
    """The text in a `Synthesizer`'s voice, at the fake microphone's rate, [n]."""
    import soxr

    pieces = [(chunk.audio, chunk.rate) async for chunk in voice.synthesize(text)]
    return soxr.resample(np.concatenate([audio for audio, _ in pieces]), pieces[0][1], MIC_RATE)


def write_microphone(path: Path, *parts: np.ndarray | float) -> Path:
    """A WAV of voices and of silences (in seconds); `hears(path)` is the flag that plays it to the microphone."""
    sound = np.concatenate([np.zeros(int(p * MIC_RATE)) if isinstance(p, float) else p for p in parts])
    sound = sound + np.random.default_rng(0).normal(0, 3e-4, len(sound))  # no room is quite silent
    with wave.open(str(path), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(MIC_RATE)
        file.writeframes((np.clip(sound, -1, 1) * 30_000).astype("<i2").tobytes())
    return path


def hears(path: Path) -> str:
    """The flag with which the fake microphone hears this WAV, once."""
    return f"--use-file-for-fake-audio-capture={path}%noloop"
