"""The process that opens documents, so that whatever a file does to it ends this process alone.

    python -m omni_rag.parser < job

The job is one JSON object on standard input; answers are JSON objects on standard output, each after its
length in four bytes, so a reader that is slow slows this process down. Memory and processor time are limited
before the file is touched; the parent ends the process when a page takes too long.

Answers: {"type": "open", "pages", "title"}, then a {"type": "page", ...} for each, then {"type": "end"};
{"type": "image", ...} for a rendering; {"type": "problem", "message"} where the file can't be read.
"""

from __future__ import annotations

import base64
import contextlib
import io
import json
import os
import struct
import sys
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

DPI = 144  #: of what is given to text recognition
PIXELS = 12_000_000  #: of one rendering at most
FEW_LETTERS = 60  #: a page with fewer is looked at by text recognition, if there is a picture on it
SOME_LETTERS = 5  #: a drawing with fewer is: its letters may be drawn too; one that has some has them all


def main() -> None:
    """Do the job on standard input."""
    job = json.loads(sys.stdin.readline())
    out = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # what libraries print must not come between the answers

    def say(message: dict[str, Any]) -> None:
        data = json.dumps(message).encode()
        out.write(struct.pack("<I", len(data)) + data)
        out.flush()

    _limit(job.get("memory_mb", 0), job.get("cpu_s", 0))
    try:
        if job["mode"] == "render":
            say(render(Path(job["path"]), job["page"], job.get("box"), job.get("marks") or [], job.get("width", 900)))
        else:
            for message in parse(Path(job["path"]), job.get("first", 1)):
                say(message)
    except MemoryError:
        say({"type": "problem", "message": "it needs more memory than it may have"})
    except Exception as error:
        say({"type": "problem", "message": reason(error)})
    say({"type": "end"})


def _limit(memory_mb: int, cpu_s: int) -> None:
    try:
        import resource
    except ImportError:  # Windows: the parent's clock is the only limit
        return
    for what, value in ((resource.RLIMIT_AS, memory_mb * 2**20), (resource.RLIMIT_CPU, cpu_s)):
        if value:
            with contextlib.suppress(ValueError, OSError):
                resource.setrlimit(what, (value, value))
    with contextlib.suppress(ValueError, OSError):
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))


def reason(error: Exception) -> str:
    """Why a file can't be read, as the end of a sentence."""
    text = str(error)
    if "password" in text.lower():
        return "it is protected by a password; save a copy of it without one"
    if isinstance(error, OSError):
        return f"it can't be read ({(error.strerror or text).lower()})"
    if "format" in text.lower() or "Failed to load" in text:
        return "it is damaged or not what its name says"
    return f"it can't be read ({type(error).__name__}: {text[:200]})"


def parse(path: Path, first: int) -> Iterator[dict[str, Any]]:
    """The answers for a document from page `first` on."""
    if path.suffix.lower() == ".pdf":
        yield from _parse_pdf(path, first)
        return
    from omni_rag.plain import plain_pages

    title, pages = plain_pages(path)
    yield {"type": "open", "pages": len(pages), "title": title}
    for page in pages[first - 1 :]:
        yield {"type": "page", "page": page.as_json(), "crops": []}


def _parse_pdf(path: Path, first: int) -> Iterator[dict[str, Any]]:
    import pypdfium2

    with path.open("rb") as stream:
        if b"%PDF" not in stream.read(1024):
            raise ValueError("no PDF: data format error")
    document = pypdfium2.PdfDocument(str(path))
    title = (document.get_metadata_dict().get("Title") or "").strip()
    yield {"type": "open", "pages": len(document), "title": title}
    plumber: list[Any] = []
    try:
        for index in range(first - 1, len(document)):
            yield _page(document, index, path, plumber)
    finally:
        for one in plumber:
            one.close()
        document.close()


def _page(document: Any, index: int, path: Path, plumber: list[Any]) -> dict[str, Any]:
    from omni_rag.assemble import assemble_turned
    from omni_rag.drawings import drawn_on, figures
    from omni_rag.letters import lines_of
    from omni_rag.tables import tables_on

    page = document[index]
    width, height = page.get_size()
    (lines, pieces, sideways), drawn = lines_of(page), drawn_on(page)
    letters = sum(len(line.text) for line in lines)
    readable = sum(c.isalnum() or c in ".,;:-()" for line in lines for c in line.text if c.isascii() or c.isalpha())
    if letters and readable < 0.4 * letters:
        lines = pieces = []  # a font that does not say which letters it draws
        letters = 0

    def plumbed() -> Any:
        try:
            import pdfplumber

            if not plumber:
                plumber.append(pdfplumber.open(path))
            plumbed_page = plumber[0].pages[index]
            return None if plumbed_page.rotation else plumbed_page
        except Exception:  # what PDFium can read and pdfminer can't has no ruled tables
            return None

    tables = tables_on(plumbed, drawn, lines, pieces)
    for one in plumber:
        one.pages[index].close()
    boxes = figures(drawn, lines, [table.box for table in tables], width, height)
    crops = _unread(drawn, boxes, lines, letters, width, height)
    pictures = [{"box": box, **_jpeg(page, box)} for box in crops]
    scanned = bool(crops) and letters < FEW_LETTERS
    if not crops:
        whole = assemble_turned(index + 1, width, height, lines, tables, boxes, sideways)
        return {"type": "page", "page": whole.as_json(), "crops": []}
    parts = {
        "number": index + 1, "width": width, "height": height, "scanned": scanned,
        "lines": [asdict(line) for line in lines], "tables": [asdict(table) for table in tables], "figures": boxes,
    }  # fmt: skip
    return {"type": "page", "parts": parts, "crops": pictures}


def _unread(drawn: Any, figures: list[Any], lines: list[Any], letters: int, width: float, height: float) -> list[Any]:
    """The boxes whose letters, if there are any, are not in the file: for text recognition.

    Whoever draws some letters of a drawing as letters draws all of them so.
    """
    from omni_rag.geometry import area, centre_in

    covered = any(area(box) > 0.5 * width * height for box in drawn.pictures)
    few = letters < FEW_LETTERS if drawn.pictures else letters < SOME_LETTERS and drawn.count > 3
    if few or (covered and letters < 20):
        return [(0.0, 0.0, width, height)]
    if letters < FEW_LETTERS:
        return []
    found = []
    for box in figures:
        inside = sum(len(line.text) for line in lines if centre_in(line.box, box))
        pictured = any(centre_in(picture, box) for picture in drawn.pictures)
        if area(box) > 0.02 * width * height and inside <= (30 if pictured else 0):
            found.append(box)
    return found


def _bitmap(page: Any, scale: float, box: Any) -> Any:
    width, height = page.get_size()
    left, top, right, bottom = box
    crop = (max(0, left), max(0, height - bottom), max(0, width - right), max(0, top))
    return page.render(scale=scale, crop=crop).to_pil().convert("RGB")


def _jpeg(page: Any, box: Any) -> dict[str, Any]:
    width, height = max(1.0, box[2] - box[0]), max(1.0, box[3] - box[1])
    scale = min(DPI / 72, (PIXELS / (width * height)) ** 0.5, 4000 / max(width, height))
    data = io.BytesIO()
    _bitmap(page, scale, box).save(data, "JPEG", quality=90)
    return {"scale": scale, "image": base64.b64encode(data.getvalue()).decode()}


def render(path: Path, number: int, box: Any, marks: list[dict[str, Any]], width: int) -> dict[str, Any]:
    """A page, or the part of it in `box`, as PNG `width` pixels wide with `marks` ({"box", "strong"}) drawn in."""
    from omni_rag.marking import marked

    if path.suffix.lower() == ".pdf":
        import pypdfium2

        document = pypdfium2.PdfDocument(str(path))
        if not 1 <= number <= len(document):
            raise ValueError(f"it has no page {number} any more")
        page = document[number - 1]
        size = page.get_size()
        box = _inside(box, *size)
        scale = min(
            width / max(1.0, box[2] - box[0]), (PIXELS / max(1.0, (box[2] - box[0]) * (box[3] - box[1]))) ** 0.5
        )
        image = _bitmap(page, scale, box)
    else:
        from omni_rag.plain import drawn_page

        image, size = drawn_page(path, number, scale := min(3.0, width / 595))
        box = _inside(box, *size)
        image = image.crop(tuple(round(edge * scale) for edge in box))
    image = marked(image, marks, (box[0], box[1]), image.width / max(1.0, box[2] - box[0]))
    data = io.BytesIO()
    image.save(data, "PNG", optimize=False)
    return {"type": "image", "image": base64.b64encode(data.getvalue()).decode(), "size": size, "box": box}


def _inside(box: Any, width: float, height: float) -> tuple[float, float, float, float]:
    if not box:
        return (0.0, 0.0, width, height)
    left, top = max(0.0, min(box[0], width - 8)), max(0.0, min(box[1], height - 8))
    return (left, top, max(left + 8, min(box[2], width)), max(top + 8, min(box[3], height)))


if __name__ == "__main__":
    main()
