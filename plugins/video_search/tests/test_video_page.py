"""The panel in a real browser: a question is typed, its moment is played from its second on."""

from __future__ import annotations

import asyncio
import dataclasses
import os
import shutil
from pathlib import Path

import numpy as np
import pytest
from omni_video_search.indexer import Indexer
from omni_video_search.library import Library
from omni_video_search.plugin import plugin
from video_kit import WIDTH, ScriptedHost, make_video, plain, scene, speechlike, steady

from omni.server.scripted import ScriptedHost as PageHost
from omni.server.scripted import ScriptedRuntime
from omni.server.serve import serve
from omni.testing import PATIENCE_S, until

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
pytestmark = [
    pytest.mark.browser,
    pytest.mark.skipif(CHROMIUM is None, reason="no Chromium on this machine"),
    pytest.mark.timeout(150),
]
FLAGS = ["--no-sandbox", "--disable-quic", "--disable-background-networking"]
PANEL = "document.querySelector('omni-video-search')"


async def panel_of(folder: Path) -> tuple[Library, object]:
    library = Library(folder / "index", ScriptedHost())

    class Context:
        data, host = folder / "index", library._host

    (offered,) = plugin.omni_panels(context=Context())
    handlers = {"list": library.list, "search": library.search, "timeline": library.timeline}
    return library, dataclasses.replace(offered, handlers=handlers, media=library.media)


async def test_a_typed_question_jumps_to_its_second(tmp_path, monkeypatch):
    from playwright.async_api import async_playwright

    monkeypatch.setenv("OMNI_HOME", str(tmp_path / "home"))
    library, panel = await panel_of(tmp_path)
    sound = np.concatenate([np.zeros(32_000, np.float32), speechlike(10)])
    pictures = steady([(0, plain((200, 30, 30))), (4, scene(3)), (8, plain((20, 30, 210)))], 12.0)
    video = make_video(
        tmp_path / "harvest.webm",
        pictures,
        duration=12,
        sound=np.repeat(sound, 3),
        rate=48_000,
        codec=("libvpx", "libopus"),
    )
    assert WIDTH == 160
    await Indexer(library.store, ScriptedHost()).index([video])
    runtime = ScriptedRuntime(host=PageHost(panels=(("video_search", panel),)))
    url: asyncio.Future[str] = asyncio.get_running_loop().create_future()
    stop, problems = asyncio.Event(), []
    server = asyncio.create_task(serve(runtime, port=0, ready=url.set_result, stop=stop))
    try:
        address = await asyncio.wait_for(url, PATIENCE_S)
        async with async_playwright() as playwright:
            browser = await playwright.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
            for width in (1440, 390):
                context = await browser.new_context(reduced_motion="reduce", viewport={"width": width, "height": 900})
                page = await context.new_page()
                page.on("console", lambda m: problems.append(m.text) if m.type in ("error", "warning") else None)
                page.on("pageerror", lambda e: problems.append(str(e)))
                await page.goto(address)
                await eventually(page, "window.omniPage?.line.open")
                await page.evaluate("window.omniPage.panels.open('video-search')")
                await eventually(page, f"{PANEL}?.querySelector('.lane.speech i')")
                assert "harvest.webm" in await page.inner_text("omni-video-search")
                await page.fill("omni-video-search input", "a blue picture is shown")
                await eventually(page, f"{PANEL}.querySelector('.lane.hits i')")
                await eventually(page, f"{PANEL}.querySelector('video').readyState >= 1")
                await page.click("omni-video-search ol li button")
                await eventually(page, f"Math.abs({PANEL}.querySelector('video').currentTime - 8) < 2")
                wide = await page.evaluate("document.documentElement.scrollWidth")
                assert wide <= width
                if folder := os.environ.get("OMNI_SCREENSHOTS"):
                    await page.screenshot(path=f"{folder}/video-{width}.png", full_page=True)
                await page.fill("omni-video-search input", "she explains quantum chromodynamics")
                await eventually(page, f"{PANEL}.textContent.includes('Nothing in the videos fits that')")
                await context.close()
            await browser.close()
    finally:
        stop.set()
        await server
        await runtime.stop()
        library.store.close()
    assert problems == []


async def eventually(page, expression: str):
    """The value of a JavaScript expression once it is true; fails with what the page shows when it never is."""
    shown = f"({PANEL}?.innerText ?? document.body.innerText).slice(0, 500)"
    return await until(lambda: page.evaluate(expression), expression, why=lambda: page.evaluate(shown))
