"""The panel's calls: list, ask, index, problems, and pages with their evidence as pictures."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

from omni.errors import BadInput, OmniError
from omni.host.hookspecs import Panel
from omni_rag.library import Library

ICON = (
    '<svg viewBox="0 0 24 24" fill="none" stroke="currentColor" stroke-width="1.6" stroke-linecap="round" '
    'stroke-linejoin="round">'
    '<path d="M14 3H7a2 2 0 0 0-2 2v14a2 2 0 0 0 2 2h10a2 2 0 0 0 2-2V8z"/><path d="M14 3v5h5M9 13h6M9 17h4"/></svg>'
)


def panel(library: Library) -> Panel:
    """The panel `omni-rag` on a library."""
    running: dict[str, Any] = {}

    async def documents(_: dict[str, Any]) -> Any:
        found = await asyncio.to_thread(library.store.documents)
        problems = await asyncio.to_thread(library.store.problems)
        return {
            "documents": [
                {"name": one.name, "title": one.title, "pages": one.pages, "path": one.paths[0]} for one in found
            ],
            "problems": [{"path": path, "page": page, "message": message} for path, page, message in problems],
            "indexing": running.get("state"),
        }

    async def ask(params: dict[str, Any]) -> Any:
        document = str(params.get("document") or "")
        answer = await library.ask(
            str(params.get("question") or ""), [document] if document else (), word=bool(params.get("word", False))
        )
        return answer.plain()

    async def index(params: dict[str, Any]) -> Any:
        """Begin to read a folder or a file; the panel asks how far it is."""
        target = await asyncio.to_thread(_target, str(params.get("path") or ""))
        if running.get("task") and not running["task"].done():
            raise BadInput("Documents are being read already.", "Wait until that is done.")
        running["state"] = {"done": 0, "files": 0, "now": "", "left": None, "finished": False}

        def tell(progress: Any) -> None:
            running["state"] |= {
                "done": progress.done, "files": progress.files, "now": Path(progress.now).name, "left": progress.eta(),
                "rate": round(progress.rate(), 1), "stage": progress.stage, "waiting": progress.waiting,
            }  # fmt: skip

        async def work() -> None:
            try:
                summary = await library.index([target], tell)
                running["state"] |= {
                    "finished": True,
                    "read": summary.read,
                    "unchanged": summary.unchanged,
                    "problems": len(summary.problems),
                }
            except OmniError as error:
                running["state"] |= {"finished": True, "error": str(error)}

        running["task"] = asyncio.create_task(work(), name="documents-indexing")
        return running["state"]

    async def media(name: str) -> tuple[bytes, str]:
        try:
            wanted = json.loads(name)
            path, page, marks = str(wanted["path"]), int(wanted["page"]), wanted.get("marks") or []
            width = max(200, min(1600, int(wanted.get("width") or 1000)))
        except (ValueError, KeyError, TypeError) as error:
            raise BadInput("That picture is not there.") from error
        return await library.page(path, page, marks, width), "image/png"

    handlers: dict[str, Callable[[dict[str, Any]], Awaitable[Any]]] = {
        "documents": documents,
        "ask": ask,
        "index": index,
    }
    return Panel("rag", "Documents", Path(__file__).parent / "static", icon=ICON, handlers=handlers, media=media)


def _target(path: str) -> Path:
    """The folder or file to read. Raises `BadInput` for one that is not there, or not named whole."""
    target = Path(path).expanduser()
    if not path.strip() or not target.is_absolute():
        raise BadInput("Name a folder or file with its whole path.", "For example ~/Documents")
    if not target.exists():
        raise BadInput(f"{target} is not there.", "Check the name.")
    return target
