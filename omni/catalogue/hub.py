"""The model hub over plain HTTPS: pinned revisions, resumable, and never a reason to wait.

A hub that does not answer within `timeout_s`, once, is left out until the process ends.
"""

from __future__ import annotations

import http.client
import threading
import urllib.error
import urllib.parse
import urllib.request
from pathlib import Path

from omni.catalogue.entries import HubSource, ModelEntry
from omni.catalogue.transfer import CHUNK, SourceFailed, Transfer

#: A transfer under way that brings nothing for this long is given up (and resumed next time).
STALL_S = 10.0


class Hub:
    """One hub; remembers whether it answers. Thread-safe."""

    def __init__(self, url: str = "https://huggingface.co", timeout_s: float = 1.0, allowed: bool = True) -> None:
        self.url = url.rstrip("/")
        self.timeout_s = timeout_s
        self._answers: bool | None = None if allowed else False
        self._lock = threading.Lock()

    def answers(self) -> bool:
        """Whether the hub can be reached; asked once, for at most `timeout_s` in total."""
        with self._lock:
            if self._answers is None:
                self._answers = self._ask()
            return self._answers

    def _ask(self) -> bool:
        reply: list[bool] = []

        def ask() -> None:
            # Name resolution has no timeout of its own, so the whole question runs in a thread that may be left behind.
            try:
                request = urllib.request.Request(self.url, method="HEAD")
                urllib.request.urlopen(request, timeout=self.timeout_s).close()
                reply.append(True)
            except urllib.error.HTTPError as error:
                reply.append(error.code < 500)
            except (OSError, http.client.HTTPException, ValueError):
                reply.append(False)

        thread = threading.Thread(target=ask, name="hub-probe", daemon=True)
        thread.start()
        thread.join(self.timeout_s)
        return bool(reply and reply[0])

    def give_up(self) -> None:
        """It failed: leave it out from now on."""
        with self._lock:
            self._answers = False

    def fetch(self, entry: ModelEntry, source: HubSource, folder: Path, transfer: Transfer) -> None:
        """Download the source's files into `folder`, going on where an earlier attempt stopped.

        Raises `SourceFailed` when the hub does not answer or does not have them.
        """
        if not self.answers():
            raise SourceFailed(f"{self.url} does not answer.")
        pins = entry.pins(source)
        parts = {name: folder / name for name in pins}
        have = sum(min(path.stat().st_size, pins[name].size) for name, path in parts.items() if path.is_file())
        transfer.begin("downloading", sum(pin.size for pin in pins.values()), have)
        for name, path in parts.items():
            path.parent.mkdir(parents=True, exist_ok=True)
            member = urllib.parse.quote(source.members.get(name, name))
            url = f"{self.url}/{source.repo}/resolve/{source.revision}/{member}"
            self.download(url, path, pins[name].size, transfer)

    def download(self, url: str, path: Path, size: int, transfer: Transfer) -> None:
        """One file, appended to what is already at `path`. Raises `SourceFailed`."""
        have = path.stat().st_size if path.is_file() else 0
        if have == size:
            return
        if have > size:
            path.unlink()
            have = 0
        request = urllib.request.Request(url, headers={"Range": f"bytes={have}-"} if have else {})
        try:
            with urllib.request.urlopen(request, timeout=self.timeout_s) as response:
                if have and response.status != 206:  # it does not know ranges: from the beginning
                    transfer.advance(-have)
                    have = 0
                _be_patient(response)
                self._copy(response, path, have, size, transfer)
        except urllib.error.HTTPError as error:
            raise SourceFailed(f"{url} answered {error.code}.") from error
        except (TimeoutError, urllib.error.URLError, http.client.HTTPException, ConnectionError) as error:
            self.give_up()
            raise SourceFailed(f"{url} stopped answering ({error}).") from error
        if path.stat().st_size < size:
            raise SourceFailed(f"{url} ended after {path.stat().st_size:,} of {size:,} bytes.")

    @staticmethod
    def _copy(response: http.client.HTTPResponse, path: Path, have: int, size: int, transfer: Transfer) -> None:
        with path.open("ab" if have else "wb") as out:
            while have < size:
                chunk = response.read1(min(CHUNK, size - have))
                if not chunk:
                    return
                out.write(chunk)
                have += len(chunk)
                transfer.advance(len(chunk))


def _be_patient(response: http.client.HTTPResponse) -> None:
    """The first byte had `timeout_s`; the rest of a long file may pause for longer."""
    raw = getattr(getattr(response, "fp", None), "raw", None)
    sock = getattr(raw, "_sock", None)
    if sock is not None:
        sock.settimeout(STALL_S)
