"""The page in a real browser, with a scripted mind behind it: sound both ways, keys, resume, looks."""

# ruff: noqa: E501  (JavaScript is not folded)

from __future__ import annotations

import asyncio
import contextlib
import itertools
import os
from collections.abc import AsyncIterator
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pages import (
    DEVICES,
    IN_BROWSER,
    MIC_RATE,
    RECORDER,
    Browser,
    browser,
    eventually,
    hears,
    record,
    recorded,
    served,
    write_microphone,
)

from omni import events
from omni.host.hookspecs import Panel
from omni.server.scripted import LONG, ScriptedHost, ScriptedRuntime
from omni.testing import until

pytestmark = [*IN_BROWSER, pytest.mark.timeout(120)]
FLAGS = (*DEVICES, "--auto-accept-this-tab-capture", "--auto-select-desktop-capture-source=Entire screen")
GRANTS = ("microphone", "camera")
TAP = "/plugins/recorder/static/recorder.js"


@dataclass
class Opened:
    """A page of a running server."""

    page: Any
    runtime: ScriptedRuntime
    url: str
    browser: Browser

    @property
    def problems(self) -> list[str]:
        return self.browser.problems

    @property
    def heard(self) -> list[events.Event]:
        (session,) = self.runtime.heard.values()
        return session

    def of(self, kind: type) -> list[Any]:
        return [event for event in self.heard if isinstance(event, kind)]

    async def say(self, text: str) -> None:
        await self.page.fill("#say", text)
        await self.page.press("#say", "Enter")


@contextlib.asynccontextmanager
async def opened(
    tmp_path: Path, *, host: Any = None, flags: tuple[str, ...] = (), enter: bool = True, **context: Any
) -> AsyncIterator[Opened]:
    static = tmp_path / "recorder"
    static.mkdir()
    (static / "recorder.js").write_text(RECORDER)
    host = host or ScriptedHost(panels=(("recorder", Panel(id="recorder", title="Recorder", static=static)),))
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("OMNI_HOME", str(tmp_path / "home"))
        runtime = ScriptedRuntime(host=host)
        try:
            async with served(runtime) as address, browser(*FLAGS, *flags) as chromium:
                if enter:
                    page = await chromium.open(address, permissions=GRANTS, **context)
                else:
                    page = await chromium.new_page(permissions=GRANTS, **context)
                    await page.goto(address.split("#")[0])
                yield Opened(page, runtime, address, chromium)
        finally:
            await runtime.stop()


def tone(hertz: float, seconds: float) -> np.ndarray:
    """A tone at the fake microphone's rate."""
    return 0.5 * np.sin(2 * np.pi * hertz * np.arange(int(seconds * MIC_RATE)) / MIC_RATE)


def peak_hertz(samples: np.ndarray, rate: float) -> float:
    spectrum = np.abs(np.fft.rfft(samples * np.hanning(len(samples))))
    return float(np.argmax(spectrum) * rate / len(samples))


async def test_the_microphone_streams_whole_frames_in_order_and_in_real_time(tmp_path):
    microphone = write_microphone(tmp_path / "mic.wav", 0.8, tone(440, 1.6), 1.6)
    async with opened(tmp_path, flags=(hears(microphone),)) as o:
        await o.page.click("button.start")
        await until(lambda: len(o.of(events.AudioIn)) >= 10)
        first, began = len(o.of(events.AudioIn)), asyncio.get_running_loop().time()
        await until(lambda: len(o.of(events.AudioIn)) >= first + 150)
        took = asyncio.get_running_loop().time() - began
        frames = o.of(events.AudioIn)
        assert 2.7 <= took <= 3.3, f"150 frames of 20 ms took {took:.2f} s"
        assert [f.seq for f in frames] == list(range(len(frames))) and {len(f.pcm) for f in frames} == {640}
        assert not o.of(events.AudioGap)
        await o.page.wait_for_selector("text=/A sound of 1[4-7]\\d\\d? ?\\d* milliseconds/")
        sound = np.concatenate([np.frombuffer(f.pcm, "<i2") for f in o.of(events.AudioIn)]).astype(float)
        loud = sound[np.flatnonzero(np.abs(sound) > 3000)[0] :][:16_000]
        assert abs(peak_hertz(loud, 16_000) - 440) < 3
        assert await o.page.inner_text("#state") != "Ready"
        await o.page.press("body", "m")  # mute: no more frames
        await until(lambda: any(e.muted for e in o.of(events.MicMuted)))
        count = len(o.of(events.AudioIn))
        await o.page.wait_for_timeout(300)
        assert len(o.of(events.AudioIn)) == count and await o.page.inner_text("#state") in (
            "Muted",
            "Speaking. Talk over me any time.",
        )
        assert o.problems == []


async def test_the_voice_is_played_whole_and_reported_to_the_sample(tmp_path):
    async with opened(tmp_path) as o:
        rate = await record(o.page, TAP)
        await o.say("good evening to you")
        await until(lambda: any(p.final for p in o.of(events.Played)))
        played = o.of(events.Played)
        words = 6  # "You said: good evening to you."
        (conversation,) = o.runtime.conversations.values()
        assert played[-1].samples == conversation._reply.playout.sent > 0
        assert [p.samples for p in played] == sorted(p.samples for p in played)
        seconds = words * 0.3
        assert seconds * 7 <= len(played) <= seconds * 12 + 2  # about ten a second
        await o.page.wait_for_timeout(200)
        sound = await recorded(o.page)
        loud = np.flatnonzero(np.abs(sound) > 0.01)
        assert abs((loud[-1] - loud[0]) / rate - seconds) < 0.05
        middle = sound[loud[0] + rate // 10 : loud[-1] - rate // 10]
        assert abs(peak_hertz(middle, rate) - 0.05 * 22_050 / (2 * np.pi)) < 2
        assert np.sqrt(np.mean(middle**2)) == pytest.approx(0.1 / np.sqrt(2), rel=0.05)
        answer = await o.page.inner_text(".turn .answer")
        assert answer.strip() == "You said: good evening to you."
        assert "first sound" in await o.page.inner_text(".timing summary")
        assert o.problems == []


async def test_stop_silences_the_loudspeaker_and_the_history_shows_the_cut(tmp_path):
    async with opened(tmp_path) as o:
        rate = await record(o.page, TAP)
        await o.say("tell me a story")
        await until(lambda: o.of(events.Played) and o.of(events.Played)[-1].samples > 22_050)
        began = asyncio.get_running_loop().time()
        await o.page.keyboard.press("Escape")
        await until(lambda: any(p.final for p in o.of(events.Played)))
        assert asyncio.get_running_loop().time() - began < 0.25
        await o.page.wait_for_selector("text=Interrupted here")
        await o.page.wait_for_timeout(400)
        sound = np.abs(await recorded(o.page))
        end = np.flatnonzero(sound > 1e-5)[-1]
        assert sound[end + 1 :].max() < 1e-5 and len(sound) - end > 0.2 * rate and sound[:end].max() > 0.09
        assert (
            np.abs(np.diff(sound[end - rate // 50 :])).max() < 0.01
        )  # a ramp, no click: the tone moves 0.0023 a sample
        (conversation,) = o.runtime.conversations.values()
        exchange = conversation.session.turns.exchange(1)
        assert exchange.cut and exchange.heard and LONG.startswith(exchange.heard)
        assert (await o.page.inner_text(".answer p >> nth=0")).strip() == exchange.heard
        await o.page.evaluate("location.hash = '#/history'")
        await o.page.click(".item-row .title")
        await o.page.wait_for_selector(".past >> text=Interrupted here")
        assert o.problems == []


async def test_a_hold_pauses_the_voice_and_it_goes_on_from_there(tmp_path):
    async with opened(tmp_path) as o:
        await record(o.page, TAP)
        await o.say("tell me a story")
        await until(lambda: o.of(events.Played) and o.of(events.Played)[-1].samples > 11_025)
        (conversation,) = o.runtime.conversations.values()
        conversation.session.publish(events.AudioHold, turn=1, held=True)
        await o.page.wait_for_timeout(300)
        held = o.of(events.Played)[-1].samples
        await o.page.wait_for_timeout(600)
        assert o.of(events.Played)[-1].samples == held
        sound = await recorded(o.page)
        assert np.abs(sound[-8000:]).max() < 1e-5 < 0.09 < np.abs(sound).max()
        conversation.session.publish(events.AudioHold, turn=1, held=False)
        await until(lambda: o.of(events.Played)[-1].samples > held + 11_025, seconds=5)
        conversation.session.publish(events.AudioHold, turn=1, held=True)
        await o.page.wait_for_timeout(300)
        held = o.of(events.Played)[-1].samples
        await until(lambda: o.of(events.Played)[-1].samples > held + 4_000, seconds=5)  # goes on by itself after two seconds


async def test_a_broken_line_is_mended_without_losing_a_word_or_a_sample(tmp_path):
    async with opened(tmp_path) as o:
        await o.say("tell me a story")
        await until(lambda: o.of(events.Played) and o.of(events.Played)[-1].samples > 15_000)
        session = await o.page.evaluate("window.omniPage.line.session")
        link = next(iter(o.runtime.conversations.values()))
        await o.page.evaluate("() => { window.omniPage.line.on('down', () => { window.dropped = true; }); }")
        await _drop_sockets()
        await eventually(o.page, "window.dropped")
        await eventually(o.page, "window.omniPage.line.open")
        assert await o.page.evaluate("window.omniPage.line.session") == session
        await until(lambda: any(p.final and p.samples > 300_000 for p in o.of(events.Played)), seconds=90)
        assert o.of(events.Played)[-1].samples == link._reply.playout.sent
        await eventually(o.page, "document.querySelector('.answer').textContent.trim().endsWith('sailed from.')")
        assert (await o.page.inner_text(".answer")).strip() == LONG


async def _drop_sockets() -> None:
    """Break every WebSocket of this process's server, without a closing word."""
    import gc

    from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol

    for protocol in [p for p in gc.get_objects() if isinstance(p, WebSocketsSansIOProtocol)]:
        if protocol.transport and not protocol.transport.is_closing():
            protocol.transport.abort()


async def test_everything_can_be_done_with_the_keyboard_alone(tmp_path):
    async with opened(tmp_path) as o:
        keyboard = o.page.keyboard
        await keyboard.press("t")
        assert await o.page.evaluate("document.activeElement.id") == "say"
        await keyboard.type("delete the old file")
        await keyboard.press("Enter")
        await o.page.wait_for_selector(".approval")
        assert "notes/old.txt" in await o.page.inner_text(".approval dl")
        await o.page.focus("#say")
        for _ in range(40):  # tabs get to the yes, wherever it is
            await keyboard.press("Shift+Tab")
            if await o.page.evaluate("document.activeElement.textContent") == "Yes, do exactly this":
                break
        outline = await o.page.evaluate("getComputedStyle(document.activeElement).outlineStyle")
        assert outline == "solid"
        await keyboard.press("Enter")
        await o.page.wait_for_selector("text=Done: it is deleted.")
        assert o.of(events.ApprovalGiven)[0].digest == "d1"
        await o.page.evaluate("document.activeElement.blur()")
        await keyboard.press("Space")
        await until(lambda: o.of(events.AudioIn))
        await keyboard.press("m")
        await o.page.wait_for_selector(".tool.mic.muted")
        await keyboard.press("c")
        await until(lambda: o.of(events.VideoFrame))
        assert "Omni sees your camera" in await o.page.inner_text("#live")
        await keyboard.press("c")
        await o.page.wait_for_selector("omni-stage", state="hidden")
        await keyboard.press("Tab")
        assert await o.page.evaluate("document.activeElement !== document.body")
        assert o.problems == []


async def test_camera_and_screen_send_a_picture_a_second_while_on(tmp_path):
    from PIL import Image

    async with opened(tmp_path) as o:
        await o.page.click(".tool.camera")
        await until(lambda: len(o.of(events.VideoFrame)) >= 3)
        times = [f.at for f in o.of(events.VideoFrame)[:3]]
        assert all(0.7 < b - a < 1.6 for a, b in itertools.pairwise(times))
        frame = o.of(events.VideoFrame)[-1]
        image = Image.open(BytesIO(frame.image))
        assert image.format == "JPEG" and image.size == (frame.width, frame.height) and max(image.size) <= 1280
        assert len(set(np.asarray(image).reshape(-1, 3).max(axis=1).tolist())) > 3  # it shows something
        await o.page.click(".tool.camera")
        count = len(o.of(events.VideoFrame))
        await o.page.wait_for_timeout(1500)
        assert len(o.of(events.VideoFrame)) <= count + 1
        assert o.problems == []


async def test_pictures_are_chosen_pasted_and_refused_where_they_are_none(tmp_path):
    from PIL import Image

    data = BytesIO()
    Image.new("RGB", (80, 60), "teal").save(data, "PNG")
    async with opened(tmp_path) as o:
        await o.page.set_input_files(
            "#dock input[type=file]", {"name": "sheet.png", "mimeType": "image/png", "buffer": data.getvalue()}
        )
        await o.page.wait_for_selector(".chip >> text=sheet.png")
        await o.page.wait_for_selector("omni-stage figure img")
        await o.say("what is on this sheet")
        await o.page.wait_for_selector(".turn .shown img")
        (conversation,) = o.runtime.conversations.values()
        exchange = await until(lambda: conversation.session.turns.exchange(1))
        (attachment,) = exchange.attachments
        assert (attachment.kind, attachment.mime, attachment.name) == ("image", "image/png", "sheet.png")
        assert conversation.session.media[attachment.ref] == data.getvalue()
        assert await o.page.evaluate("document.querySelector('.turn .shown img').complete")
        assert await o.page.locator(".chip").count() == 0
        await o.page.evaluate(
            """(bytes) => { const t = new DataTransfer(); t.items.add(new File([new Uint8Array(bytes)], "pasted.png", {type: "image/png"}));
            document.dispatchEvent(new ClipboardEvent("paste", {clipboardData: t, cancelable: true, bubbles: true})); }""",
            list(data.getvalue()),
        )
        await o.page.wait_for_selector(".chip >> text=pasted.png")
        await o.page.set_input_files(
            "#dock input[type=file]", {"name": "virus.png", "mimeType": "image/png", "buffer": b"MZ not a picture"}
        )
        await o.page.wait_for_selector("#cannot >> text=neither a picture nor a PDF")
        assert [p for p in o.problems if "400" not in p] == []


async def test_what_fails_is_said_where_it_happened_and_the_line_above_the_dock_says_what_is_off(tmp_path):
    async with opened(tmp_path) as o:
        await o.say("please fail")
        await o.page.wait_for_selector(".answer >> text=I was told to fail. Ask for something else.")
        (conversation,) = o.runtime.conversations.values()
        conversation.session.publish(events.Notice, topic="voice", text="I can't speak, so I write.", level="warning")
        conversation.session.publish(events.Notice, topic="eyes", text="I can't see.", level="error")
        await o.page.wait_for_selector("#cannot.error >> text=I can't see.")
        await o.page.wait_for_selector("#cannot >> text=and 1 more")
        await o.page.reload()
        await o.page.wait_for_selector("#cannot.error >> text=I can't see.")  # a reloaded page knows it too
        for topic in ("eyes", "voice"):
            conversation.session.publish(events.Notice, topic=topic, text="")
        await o.page.wait_for_selector("#cannot", state="hidden")
        assert await o.page.inner_text("#state") == "Ready" and o.problems == []


async def test_a_plugin_panel_loads_calls_and_hears_its_events(tmp_path):
    static = tmp_path / "static"
    static.mkdir()
    (static / "panel.js").write_text(
        """customElements.define("omni-demo", class extends HTMLElement {
          async connectedCallback() {
            this.omni.on("tick", (p) => this.querySelector("b").textContent = p.n);
            this.innerHTML = "<p></p><b></b>";
            this.querySelector("p").textContent = (await this.omni.call("double", {n: 21})).twice;
            try { await this.omni.call("nothing"); } catch (error) { this.title = error.message; }
          }
        });"""
    )

    async def double(params: dict) -> dict:
        return {"twice": params["n"] * 2}

    async def media(name: str) -> tuple[bytes, str]:
        return b"x", "text/plain"

    panels = (
        ("demo", Panel(id="demo", title="Demo", static=static, handlers={"double": double}, media=media)),
        ("bad", Panel(id="bad", title="Broken", static=static, module="absent.js")),
    )
    async with opened(tmp_path, host=ScriptedHost(panels=panels)) as o:
        await o.page.click("#rail >> text=Demo")
        await o.page.wait_for_selector("omni-demo >> text=42")
        (conversation,) = o.runtime.conversations.values()
        conversation.session.publish(events.Custom, topic="demo.tick", payload={"n": 7})
        await o.page.wait_for_selector("omni-demo b >> text=7")
        assert "no panel call 'nothing'" in await o.page.get_attribute("omni-demo", "title")
        await o.page.click("#rail >> text=Broken")
        await o.page.wait_for_selector("omni-stage .problem >> text=could not be loaded")


async def test_the_page_fits_and_reads_well_at_every_size_in_both_themes(tmp_path):
    shots = os.environ.get("OMNI_SCREENSHOTS")
    async with opened(tmp_path) as o:
        await o.say("please calculate it")
        await o.page.wait_for_selector(".answer >> text=That is 8.50.")
        (conversation,) = o.runtime.conversations.values()
        await until(lambda: conversation.session.turns.exchange(1).heard)  # else closing the page would cut it
        session = conversation.session.id
        cookies = await o.page.context.cookies()
        await o.page.close()
        for width, height in ((1440, 900), (390, 844), (360, 740)):
            for theme in ("light", "dark"):
                page = await o.browser.new_page(
                    permissions=GRANTS, viewport={"width": width, "height": height}, color_scheme=theme
                )
                await page.context.add_cookies(cookies)
                await page.add_init_script(f"sessionStorage.setItem('omni.session', '{session}')")
                await page.goto(o.url.split("#")[0])
                await page.wait_for_selector(".answer >> text=That is 8.50.")
                for view in ("", "history", "models", "plugins", "cards", "settings"):
                    await page.evaluate(f"location.hash = '#/{view}'")
                    await page.wait_for_selector("#turns" if not view else "#page .view", state="attached")
                    wide = await page.evaluate("document.documentElement.scrollWidth - innerWidth")
                    assert wide <= 0, f"{view or 'talk'} is {wide} px too wide at {width}"
                    poor = await page.evaluate(CONTRAST)
                    assert poor == [], f"{view or 'talk'} in {theme} at {width}"
                    nameless = await page.evaluate(NAMELESS)
                    assert nameless == []
                    if shots:
                        await page.screenshot(path=Path(shots) / f"{width}-{theme}-{view or 'talk'}.png")
                await page.context.close()
        assert o.problems == []
        origin = o.url.split("/#")[0]
        assert {u for u in o.browser.requests if not u.startswith((origin, "blob:", "data:"))} == set()


#: Text that is drawn with less than 4.5:1 (3:1 from 24 px), by the WCAG 2.2 formula.
CONTRAST = """() => {
  const parse = (c) => c.match(/[\\d.]+/g).map(Number);
  const luminance = ([r, g, b]) => [r, g, b].map((v) => (v /= 255) <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4)
    .reduce((sum, v, i) => sum + v * [0.2126, 0.7152, 0.0722][i], 0);
  const ground = (e) => { for (; e; e = e.parentElement) { const c = parse(getComputedStyle(e).backgroundColor); if (c[3] === undefined || c[3] > 0.99) return c; } return [255, 255, 255]; };
  const poor = [];
  for (const e of document.querySelectorAll("body *")) {
    const own = [...e.childNodes].some((n) => n.nodeType === 3 && n.textContent.trim());
    if (!own || !e.checkVisibility() || e.closest("[disabled], .unseen, .skip, option")) continue;
    const style = getComputedStyle(e);
    const [a, b] = [luminance(parse(style.color)), luminance(ground(e))];
    const ratio = (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05);
    if (ratio < (parseFloat(style.fontSize) >= 24 ? 3 : 4.5)) poor.push(`${e.textContent.trim().slice(0, 30)}: ${ratio.toFixed(2)}`);
  }
  return poor;
}"""
#: Controls and pictures a screen reader could not name.
NAMELESS = """() => [...document.querySelectorAll("button, a, input:not([hidden]), select, textarea, img, [role=tab]")]
  .filter((e) => e.checkVisibility() && !(e.textContent.trim() || e.getAttribute("aria-label") || e.labels?.length || e.hasAttribute("alt")))
  .map((e) => e.outerHTML.slice(0, 120))"""


async def test_without_the_key_the_page_says_how_to_get_in(tmp_path):
    async with opened(tmp_path, enter=False) as o:
        await o.page.wait_for_selector("h1 >> text=This page needs the key of this run")
        assert o.runtime.conversations == {}
        await o.page.goto("about:blank")
        await o.page.goto(o.url)
        await eventually(o.page, "window.omniPage?.line.open")
        assert "token" not in o.page.url
        await o.page.reload()
        await eventually(o.page, "window.omniPage?.line.open")


async def test_the_resampler_keeps_what_it_should_and_drops_what_it_must(tmp_path):
    async with opened(tmp_path) as o:
        measure = """async ([from, to, hertz]) => {
          const { Resampler } = await import("/static/worklets/resampler.js");
          const r = new Resampler(from, to), out = [];
          for (let n = 0; n < from; n += 128) out.push(...r.push(Float32Array.from({length: Math.min(128, from - n)}, (_, i) => Math.sin(2 * Math.PI * hertz * (n + i) / from))));
          out.push(...r.flush());
          let worst = 0;
          for (let i = 2000; i < out.length - 2000; i++) worst = Math.max(worst, Math.abs(out[i] - Math.sin(2 * Math.PI * hertz * i / to)));
          let loud = 0;
          for (let i = 2000; i < out.length - 2000; i++) loud = Math.max(loud, Math.abs(out[i]));
          return { count: out.length, worst, loud };
        }"""
        for rates in ((48_000, 16_000), (44_100, 16_000), (22_050, 48_000), (24_000, 44_100)):
            got = await o.page.evaluate(measure, [*rates, 1000])
            assert abs(got["count"] - rates[1]) <= 2 and got["worst"] < 0.004, (rates, got)
        alias = await o.page.evaluate(measure, [48_000, 16_000, 10_000])
        assert alias["loud"] < 0.01  # 10 kHz can't be told at 16 kHz and must not come back as 6 kHz
