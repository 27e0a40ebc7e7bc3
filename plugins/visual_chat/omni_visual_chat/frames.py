"""The stage that keeps the latest frame of the camera and of the screen at hand."""

from __future__ import annotations

from typing import TYPE_CHECKING

from omni.bus import Overflow
from omni.events import VideoFrame

if TYPE_CHECKING:
    from omni.session import Session


class LatestFrames:
    """Keeps `session.media["camera"]` and `session.media["screen"]` up to date; older frames are gone."""

    async def run(self, session: Session) -> None:
        """Until the session closes."""
        frames = session.bus.subscribe(
            VideoFrame, capacity=2, overflow=Overflow.COALESCE, key=lambda event: event.source, name="latest frames"
        )
        try:
            async for event in frames:
                session.keep(event.source, event.image)
        finally:
            session.bus.unsubscribe(frames)
