"""`omni talk` without sound devices: a sentence, and the exit code of bad input."""

from __future__ import annotations

import sys
from types import SimpleNamespace

import pytest
from omni_speech import commands, devices

from omni.errors import OmniError
from omni.session import Session
from omni.testing import FakeHost


class _Runtime:
    """A runtime with one session and no plugins."""

    def __init__(self) -> None:
        self.stopped = False

    async def start(self) -> None: ...

    async def warm_up(self) -> list[str]:
        return []

    async def open_session(self, settings: dict) -> SimpleNamespace:
        return SimpleNamespace(session=Session(host=FakeHost()))

    async def stop(self) -> None:
        self.stopped = True


async def test_without_portaudio_the_sentence_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    async def nothing(_: object) -> None: ...

    monkeypatch.setitem(sys.modules, "sounddevice", None)
    monkeypatch.setattr(commands, "fetch_missing", nothing)
    runtime = _Runtime()
    with pytest.raises(OmniError) as caught:
        await commands._talk(runtime, {}, None, None)
    assert isinstance(caught.value, devices.NoDevice) and caught.value.remedy
    assert runtime.stopped
