"""The wall of photos in a real browser: typed search, more like one, keys, narrow windows."""

from __future__ import annotations

import os
from pathlib import Path

import omni_image_search
import pytest
from omni_image_search.features import Eyes
from omni_image_search.library import Library
from omni_image_search.panel import PhotoWall
from omni_image_search.plugin import ICON
from omni_image_search.scan import Indexer
from pages import IN_BROWSER, browser, eventually, served
from photo_fakes import album, host, paint

from omni.host.hookspecs import Panel
from omni.server.scripted import ScriptedHost, ScriptedRuntime

pytestmark = [*IN_BROWSER, pytest.mark.timeout(120)]
COUNT = "document.querySelectorAll('omni-photos .photo').length"
SHOTS = os.environ.get("OMNI_SHOTS")  #: a folder for screenshots, to look at


async def shot(page, name: str) -> None:
    if SHOTS:
        await page.screenshot(path=f"{SHOTS}/{name}.png")


async def test_the_wall_is_searched_looked_at_and_walked_with_keys(tmp_path: Path, monkeypatch):
    monkeypatch.setenv("OMNI_HOME", str(tmp_path / "home"))
    library = Library(tmp_path / "index", host())
    await Indexer(library.store, Eyes(library.host)).run(album(tmp_path / "photos", 48))
    wall = PhotoWall(library)
    static = Path(omni_image_search.__file__).parent / "static"
    panel = Panel("photos", "Photos", static, icon=ICON, handlers=wall.handlers(), media=wall.media)
    runtime = ScriptedRuntime(host=ScriptedHost(panels=(("image_search", panel),)))
    try:
        async with served(runtime) as address, browser() as chromium:
            page = await chromium.open(address, viewport={"width": 1440, "height": 900})
            await page.locator("button, a").filter(has_text="Photos").first.click()
            await eventually(page, f"{COUNT} === 48")
            await eventually(
                page, "[...document.querySelectorAll('omni-photos .photo img')].slice(0, 4).every(i => i.naturalWidth)"
            )
            await shot(page, "photos-recent-1440")
            await page.locator("omni-photos input[type=search]").fill("a red thing")
            await eventually(page, f"{COUNT} === 4")
            words = await page.locator("omni-photos .photo span").all_inner_texts()
            assert all("red" in one for one in words)
            await shot(page, "photos-search-1440")
            await page.locator("omni-photos input[type=search]").fill("submarine engine room")
            await eventually(page, f"{COUNT} === 0")
            assert "Nothing here fits" in await page.locator("omni-photos .state").inner_text()
            await shot(page, "photos-nothing-1440")
            await page.get_by_role("button", name="Show the nearest all the same").click()
            await eventually(page, f"{COUNT} === 48")
            await page.locator("omni-photos input[type=search]").fill("")
            await eventually(page, f"{COUNT} === 48")
            await page.locator("omni-photos .photo").first.focus()
            await page.keyboard.press("ArrowRight")
            await page.keyboard.press("ArrowDown")
            assert await page.evaluate("document.activeElement.classList.contains('photo')")
            await page.keyboard.press("m")
            await eventually(page, "document.querySelectorAll('omni-photos .chip').length === 1")
            await eventually(page, f"{COUNT} === 47")
            await page.locator("omni-photos .photo").first.click()
            await eventually(page, "document.querySelector('omni-photos dialog[open] img')?.naturalWidth")
            assert str(tmp_path) in await page.locator("omni-photos .path").inner_text()
            await shot(page, "photos-large-1440")
            await page.keyboard.press("Escape")
            await page.locator("omni-photos .chip").click()
            await page.set_viewport_size({"width": 390, "height": 844})
            await eventually(page, f"{COUNT} === 48")
            await shot(page, "photos-390")
            assert await page.evaluate("document.documentElement.scrollWidth <= innerWidth")
            field = await page.locator("omni-photos input[type=search]").bounding_box()
            assert 0 <= field["y"] < 844 / 2  # above the wall, which scrolls within itself
            await page.locator("omni-photos input[type=file]").set_input_files(str(tmp_path / "photos" / "b" / "0.png"))
            await eventually(page, "document.querySelectorAll('omni-photos .chip').length === 1")
            await eventually(page, "document.querySelector('omni-photos .photo span')?.textContent.includes('red')")
            for number in range(100, 120):
                paint(tmp_path / "more" / f"{number}.png", "grey", number)
            await Indexer(library.store, Eyes(library.host)).run(tmp_path / "more")
            await page.locator("omni-photos .chip").click()
            await eventually(page, f"{COUNT} === 60")
            await page.get_by_role("button", name="Show more").click()
            await eventually(page, f"{COUNT} === 68")
            assert await page.get_by_role("button", name="Show more").is_hidden()
            assert chromium.problems == []
    finally:
        await runtime.stop()
        library.close()
