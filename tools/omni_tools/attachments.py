"""What was attached to a turn: text files and PDFs are read here; pictures are the business of those who see."""

from __future__ import annotations

import asyncio
import io
from typing import Any

from omni.errors import BadInput
from omni.tools import ToolContext, ToolResult

#: Bytes of one attachment, pages of a PDF and characters of text that are read.
LARGEST = 30_000_000
MOST_PAGES = 40
LONGEST_TEXT = 12_000


async def read_attachment(context: ToolContext) -> ToolResult:
    """Read the document or text file the person attached."""
    documents = [a for a in context.attachments if a.kind == "document"]
    if not documents and context.session is not None:
        documents = [a for e in reversed(context.session.turns.history) for a in e.attachments if a.kind == "document"]
    if not documents or context.session is None:
        return ToolResult(None, say="There is no document here. Drop one onto the page and ask again.")
    attached = documents[0]
    data = context.session.media.get(attached.ref)
    if data is None:
        raise BadInput(f"{attached.name or 'The document'} is no longer here.", "Drop it again.")
    text = await asyncio.to_thread(document_text, data, attached.name)
    return ToolResult({"name": attached.name, "text": text[:LONGEST_TEXT]}, trusted=False)


def document_text(data: bytes, name: str = "") -> str:
    """The text of a PDF or a text file. Raises `BadInput` for anything else."""
    shown = name or "The document"
    if not data:
        raise BadInput(f"{shown} is empty.")
    if len(data) > LARGEST:
        raise BadInput(f"{shown} is larger than {LARGEST // 1_000_000} MB.")
    if data[:1024].lstrip().startswith(b"%PDF"):
        return _pdf_text(data, shown)
    if b"\0" in data[:4096]:
        raise BadInput(f"{shown} is neither a PDF nor a text file.")
    return data.decode("utf-8", "replace")


def _pdf_text(data: bytes, shown: str) -> str:
    import pypdfium2

    try:
        document: Any = pypdfium2.PdfDocument(io.BytesIO(data))
    except pypdfium2.PdfiumError as error:
        locked = "password" in str(error).lower()
        what = "is protected by a password" if locked else "is damaged"
        raise BadInput(f"{shown} {what}, so I can't read it.") from error
    try:
        pages = []
        for number in range(min(len(document), MOST_PAGES)):
            page = document[number]
            text_page = page.get_textpage()
            pages.append(f"[page {number + 1}]\n{text_page.get_text_range()}")
            text_page.close()
            page.close()
    finally:
        document.close()
    text = "\n".join(pages)
    if not any(line.strip() and not line.startswith("[page") for line in text.splitlines()):
        raise BadInput(f"{shown} holds only pictures of text.", "Show it to the camera, or index it with: omni docs.")
    return text
