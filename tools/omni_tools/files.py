"""Files under the folders that were granted, and nowhere else: list, read, find, and code by what it does.

Every path is resolved first, links and all, and refused when it leaves its root. What is read is a
person's file, not their words: results are marked untrusted.
"""

from __future__ import annotations

import asyncio
import fnmatch
import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any

from pydantic import Field

from omni.errors import BadInput, Refused
from omni.tools import ToolResult

#: Bytes of one file that are read.
LONGEST_READ = 200_000
#: Entries of a listing, hits of a search.
MOST_ENTRIES = 60
#: Files a search looks at.
MOST_FILES = 50_000
_SKIPPED = frozenset({".git", ".venv", "node_modules", "__pycache__", ".cache", ".tox", "dist", "build"})

Span = {"x-copy": "span"}


class Roots:
    """The granted folders, by name and path."""

    def __init__(self, folders: list[str]) -> None:
        self.paths = [Path(folder).expanduser().resolve() for folder in folders if folder]

    def granted(self) -> list[Path]:
        """The folders that exist. Raises `Refused` when none was granted."""
        found = [path for path in self.paths if path.is_dir()]
        if not found:
            raise Refused(
                "I may not look at any folder yet.", "Name folders under [plugins.tools] roots in the settings."
            )
        return found

    def inside(self, path: Path) -> Path:
        """The real path, if it lies under a root. Raises `Refused` otherwise."""
        real = path.resolve()
        if not any(real == root or root in real.parents for root in self.granted()):
            raise Refused(f"{path.name or path} is outside the folders I may look at.")
        return real

    def find(self, spoken: str, *, folder: bool) -> Path:
        """The file or folder that is meant: a path under a root, or the nearest name. Raises `BadInput`, `Refused`."""
        wanted = spoken.strip().strip("'\"").replace("\\", "/")
        if "\0" in wanted or len(wanted) > 1000:
            raise BadInput("That is no file name.")
        if folder and (not wanted or wanted in (".", "/")):
            return self.granted()[0]
        for root in self.granted():
            candidate = Path(wanted).expanduser() if wanted.startswith(("/", "~")) else root / wanted
            real = self.inside(candidate) if ".." in Path(wanted).parts or candidate.is_absolute() else candidate
            if real.is_dir() if folder else real.is_file():
                return self.inside(real)
        matches = self.named(wanted, folder=folder)
        if not matches:
            raise BadInput(f"I find no {'folder' if folder else 'file'} called {spoken!r} in the granted folders.")
        return matches[0]

    def named(self, spoken: str, *, folder: bool = False) -> list[Path]:
        """Files (or folders) whose names fit the words, best first."""
        pattern = spoken.lower().strip()
        words = [w for w in re.findall(r"[a-z0-9]+", pattern) if w not in _FILLER]
        scored: list[tuple[float, str, Path]] = []
        for path in self.walk(folders=folder):
            name = path.name.lower()
            if any(c in pattern for c in "*?") and fnmatch.fnmatch(name, pattern):
                scored.append((0, str(path), path))
            elif name == pattern or path.stem.lower() == pattern:
                scored.append((-2, str(path), path))
            elif words and all(word in name for word in words):
                scored.append((-1, str(path), path))
            elif len(words) > 2 and sum(word in name for word in words) >= len(words) - 1:
                scored.append((1, str(path), path))
        return [path for _, _, path in sorted(scored)[:MOST_ENTRIES]]

    def walk(self, *, folders: bool = False) -> Iterator[Path]:
        """Files (or folders) under the roots; links out of them are not followed."""
        seen = 0
        for root in self.granted():
            if folders:
                yield root
            for parent, names, files in os.walk(root, followlinks=False):
                names[:] = sorted(name for name in names if name not in _SKIPPED and not name.startswith("."))
                for name in names if folders else sorted(files):
                    seen += 1
                    if seen > MOST_FILES:
                        return
                    path = Path(parent, name)
                    if not path.is_symlink():
                        yield path


_FILLER = frozenset({"the", "a", "my", "file", "files", "folder", "directory", "called", "named", "document", "any"})


def read_text(path: Path) -> str:
    """A file's text, its beginning where it is long. Raises `BadInput` for what is no text."""
    try:
        with path.open("rb") as source:
            data = source.read(LONGEST_READ + 1)
    except OSError as error:
        raise BadInput(f"{path.name} can't be read: {error.strerror}.") from error
    if b"\0" in data[:4096]:
        raise BadInput(f"{path.name} is no text file.", "Show it to me, or attach it.")
    text = data[:LONGEST_READ].decode("utf-8", "replace")
    return text + "\n… (the file goes on)" if len(data) > LONGEST_READ else text


class FileTools:
    """The functions behind the file tools."""

    def __init__(self, roots: Roots) -> None:
        self.roots = roots

    async def list_files(
        self,
        folder: Annotated[str, Field(description="the folder's name or path", json_schema_extra=Span)] = "",
    ) -> ToolResult:
        """List what is in a folder of this computer."""
        path = await asyncio.to_thread(self.roots.find, folder, folder=True)
        entries = sorted(path.iterdir(), key=lambda entry: (not entry.is_dir(), entry.name.lower()))
        names = [entry.name + ("/" if entry.is_dir() else "") for entry in entries if not entry.name.startswith(".")]
        value = {"folder": str(path), "entries": names[:MOST_ENTRIES], "count": len(names)}
        return ToolResult(value, trusted=False)

    async def read_file(
        self, path: Annotated[str, Field(description="the file's name or path", json_schema_extra=Span)]
    ) -> ToolResult:
        """Read a text file of this computer."""
        found = await asyncio.to_thread(self.roots.find, path, folder=False)
        text = await asyncio.to_thread(read_text, found)
        return ToolResult({"file": str(found), "text": text}, trusted=False)

    async def find_files(
        self, name: Annotated[str, Field(description="words of the file's name", json_schema_extra=Span)]
    ) -> ToolResult:
        """Find files on this computer by their name."""
        found = await asyncio.to_thread(self.roots.named, name)
        if not found:
            return ToolResult([], say=f"I find no file called {name} in the folders I may look at.")
        return ToolResult([str(path) for path in found[:20]], trusted=False)

    async def explain_code(
        self, question: Annotated[str, Field(description="what the code does, as it was asked")]
    ) -> ToolResult:
        """Find the place in the source code that does something and explain it."""
        from omni_tools.code import nearest

        hits = await asyncio.to_thread(nearest, question, self.roots)
        if not hits:
            return ToolResult([], say="I find nothing like that in the code I may look at.")
        evidence: list[dict[str, Any]] = [{"file": hit.file, "line": hit.line, "text": hit.text} for hit in hits]
        best = hits[0]
        others = [f"{hit.file}:{hit.line} {hit.name}" for hit in hits[1:]]
        value = {"file": best.file, "line": best.line, "name": best.name, "code": best.text[:1800], "also": others}
        return ToolResult(value, trusted=False, evidence=tuple(evidence))
