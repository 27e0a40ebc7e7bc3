"""The panel in a real browser: a question is typed, its moment is played from its second on."""

from __future__ import annotations

import dataclasses
import os
from pathlib import Path

import numpy as np
import pytest
from omni_video_search.indexer import Indexer
from omni_video_search.library import Library
from omni_video_search.plugin import plugin
from pages import IN_BROWSER, browser, eventually, served
from video_kit import WIDTH, ScriptedHost, make_video, plain, scene, speechlike, steady

from omni.server.scripted import ScriptedHost as PageHost
from omni.server.scripted import ScriptedRuntime

pytestmark = [*IN_BROWSER, pytest.mark.timeout(150)]
PANEL = "document.querySelector('omni-video-search')"


async def panel_of(folder: Path) -> tuple[Library, object]:
    library = Library(folder / "index", ScriptedHost())

    class Context:
        data, host = folder / "index", library._host

    (offered,) = plugin.omni_panels(context=Context())
    handlers = {"list": library.list, "search": library.search, "timeline": library.timeline}
    return library, dataclasses.replace(offered, handlers=handlers, media=library.media)


async def test_a_typed_question_jumps_to_its_second(tmp_path, monkeypatch):
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
    try:
        async with served(runtime) as address, browser() as chromium:
            for width in (1440, 390):
                page = await chromium.open(address, viewport={"width": width, "height": 900})
                await page.evaluate("window.omniPage.panels.open('video-search')")
                await shown(page, f"{PANEL}?.querySelector('.lane.speech i')")
                assert "harvest.webm" in await page.inner_text("omni-video-search")
                await page.fill("omni-video-search input", "a blue picture is shown")
                await shown(page, f"{PANEL}.querySelector('.lane.hits i')")
                await shown(page, f"{PANEL}.querySelector('video').readyState >= 1")
                await page.click("omni-video-search ol li button")
                await shown(page, f"Math.abs({PANEL}.querySelector('video').currentTime - 8) < 2")
                wide = await page.evaluate("document.documentElement.scrollWidth")
                assert wide <= width
                if folder := os.environ.get("OMNI_SCREENSHOTS"):
                    await page.screenshot(path=f"{folder}/video-{width}.png", full_page=True)
                await page.fill("omni-video-search input", "she explains quantum chromodynamics")
                await shown(page, f"{PANEL}.textContent.includes('Nothing in the videos fits that')")
                await page.context.close()
            assert chromium.problems == []
    finally:
        await runtime.stop()
        library.store.close()


async def shown(page, expression: str) -> None:
    """Wait until a JavaScript expression is true; fails with what the page shows when it never is."""
    text = f"({PANEL}?.innerText ?? document.body.innerText).slice(0, 500)"
    await eventually(page, expression, why=lambda: page.evaluate(text))
