"""The tools: what is in the picture, on the camera, on the screen; receipts and documents."""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import Sequence
from typing import Annotated, Any

from pydantic import Field as Described

from omni.capabilities import Region, TextReader, VisionModel
from omni.errors import BadInput
from omni.tools import ToolContext, ToolResult
from omni_visual_chat.documents import read_fields
from omni_visual_chat.page import page_rows
from omni_visual_chat.receipts import Receipt, read_receipt

_EXPLAIN = re.compile(
    r"\b(?:explain|why|mean|means|fix|solve|help|how (?:do|can|should)|what should|summar|translate)", re.IGNORECASE
)

Question = Annotated[
    str,
    Described(
        description="the question about what is seen, in the person's words",
        max_length=500,
        json_schema_extra={"x-copy": "request"},
    ),
]


class Sight:
    """Answers from the session's pictures. `host` gives the models."""

    def __init__(self, host: Any) -> None:
        self._host = host

    async def look_at_camera(self, context: ToolContext, question: Question = "") -> ToolResult:
        """Look at what the camera shows now and answer a question about it."""
        return await self._answer(context, [("camera", frame(context, "camera"))], question)

    async def look_at_screen(self, context: ToolContext, question: Question = "") -> ToolResult:
        """Look at the shared screen and answer a question about it."""
        return await self._answer(context, [("screen", frame(context, "screen"))], question)

    async def look_at_image(self, context: ToolContext, question: Question = "") -> ToolResult:
        """Look at the pictures that were dropped, pasted or attached and answer a question about them."""
        return await self._answer(context, pictures(context), question)

    async def transcribe_screen(self, context: ToolContext) -> ToolResult:
        """Read all text on the shared screen, word for word."""
        shown = frame(context, "screen")
        lines = await self._host.get(TextReader).read(shown)
        text = "\n".join(row.text for row in page_rows(lines))
        if not text:
            return ToolResult({"text": ""}, say="I see no text on the screen that can be read.", trusted=False)
        return ToolResult({"text": text}, trusted=False, evidence=tuple(_evidence("screen", line) for line in lines))

    async def read_receipt(
        self,
        context: ToolContext,
        tip_percent: Annotated[
            float | None, Described(description="percent of tip to compute, if one was asked for", ge=0, le=100)
        ] = None,
    ) -> ToolResult:
        """Read the company, date, address and total of a receipt or bill, and compute a tip on it."""
        ref, image = (pictures(context, documents=True) or [("", b"")])[-1]
        found = await self.receipt(image)
        value: dict[str, Any] = {field.name: field.plain() for field in found.fields()}
        if found.total is None:
            return ToolResult(
                value, say="I can't make out a total on that. Hold it closer or send a sharper picture.", trusted=False
            )
        said = [f"The total is {found.total.text}"]
        if found.company:
            said[0] += f", at {found.company.text}"
        if found.total.checked:
            said.append(f"that fits: {found.total.checked}")
        if tip_percent is not None:
            value["tip"] = tip = await self._tip(found.total.value, tip_percent, context)
            said.append(f"a tip of {tip_percent:g} percent is {tip}")
        evidence = tuple(
            {"ref": ref, "kind": field.name, "text": field.text, "boxes": field.plain()["boxes"]}
            for field in found.fields()
        )
        return ToolResult(value, say="; ".join(said) + ".", trusted=False, evidence=evidence)

    async def read_document(
        self,
        context: ToolContext,
        fields: Annotated[
            dict[str, Any], Described(description="JSON schema of type object: the fields to read and their types")
        ],
    ) -> ToolResult:
        """Read named fields from a picture of a document or form, as a JSON schema asks for them."""
        ref, image = pictures(context, documents=True)[-1]
        found = await read_fields(self._host, await self.lines(image), fields)
        evidence = tuple(
            {"ref": ref, "kind": name, "text": one.text, "boxes": one.plain()["boxes"]} for name, one in found.items()
        )
        return ToolResult({name: one.plain() for name, one in found.items()}, trusted=False, evidence=evidence)

    async def receipt(self, image: bytes) -> Receipt:
        """The fields of a receipt in an image or a PDF."""
        return await asyncio.to_thread(read_receipt, await self.lines(image))

    async def lines(self, data: bytes) -> list[Region]:
        """The text of an image, or of the first page of a PDF."""
        if data[:1024].lstrip().startswith(b"%PDF"):
            data = await asyncio.to_thread(first_page, data)
        return await self._host.get(TextReader).read(data)

    async def _answer(self, context: ToolContext, shown: Sequence[tuple[str, bytes]], question: str) -> ToolResult:
        question = question.strip() or context.request.strip() or "What is in the picture?"
        seen = await self._host.get(VisionModel).answer([image for _, image in shown], question)
        evidence = tuple(_evidence(shown[image][0], region) for image, region in seen.regions)
        value: dict[str, Any] = {
            "answer": seen.text,
            "supported": seen.supported,
            "tokens": seen.tokens,
            "seconds": round(seen.seconds, 3),
        }
        if _EXPLAIN.search(question) and any(region.kind == "text" for _, region in seen.regions):
            value["text"] = "\n".join(row.text for row in page_rows([r for _, r in seen.regions if r.kind == "text"]))
            return ToolResult(value, trusted=False, evidence=evidence)  # reading it is not yet explaining it
        return ToolResult(value, say=seen.text, trusted=False, evidence=evidence)

    async def _tip(self, total: str, percent: float, context: ToolContext) -> str:
        """By the calculator, where there is one; it never rounds a sum of money wrongly."""
        for one in self._host.tools():
            if one.name == "calculate":
                result = await one({"expression": f"{percent:g}% of {total}"}, context)
                return result.say or str(result.value)
        from decimal import Decimal

        return str((Decimal(total) * Decimal(str(percent)) / 100).quantize(Decimal("0.01")))


def frame(context: ToolContext, source: str) -> bytes:
    """The latest frame of the camera or the screen. Raises `BadInput` when it is off."""
    data = context.session.media.get(source) if context.session else None
    if data is None:
        what, remedy = ("camera", "Switch the camera on") if source == "camera" else ("screen", "Share the screen")
        raise BadInput(f"I can't see the {what} at the moment.", f"{remedy} with the button below, then ask again.")
    return data


def pictures(context: ToolContext, documents: bool = False) -> list[tuple[str, bytes]]:
    """(reference, bytes) of the pictures of this turn, else of the last turn that had any, else the camera's."""
    session = context.session
    if session is None:
        raise BadInput("There is no picture here.", "Drop one onto the page and ask again.")
    kinds = ("image", "camera", "screen", "drawing", *(("document",) if documents else ()))
    turns = [context.attachments, *(exchange.attachments for exchange in reversed(session.turns.history))]
    for attachments in turns:
        found = [
            (one.ref, session.media[one.ref]) for one in attachments if one.kind in kinds and one.ref in session.media
        ]
        if found:
            return found
    for source in ("camera", "screen"):
        if source in session.media:
            return [(source, session.media[source])]
    raise BadInput("There is no picture here.", "Drop one onto the page, or switch the camera on, and ask again.")


def first_page(data: bytes) -> bytes:
    """The first page of a PDF as PNG, at 144 dots an inch. Raises `BadInput` for one that is broken or locked."""
    import io

    import pypdfium2

    try:
        document = pypdfium2.PdfDocument(data)
        try:
            page = document[0]
            scale = min(2.0, 4000 / max(page.get_size()))
            image = page.render(scale=scale).to_pil().convert("RGB")
        finally:
            document.close()
    except (pypdfium2.PdfiumError, IndexError, ValueError, MemoryError) as error:
        locked = "password" in str(error).lower()
        raise BadInput(
            f"The PDF {'is protected by a password' if locked else 'is damaged'} and can't be read."
        ) from error
    out = io.BytesIO()
    image.save(out, "PNG")
    return out.getvalue()


def parse_schema(text: str) -> dict[str, Any]:
    """A JSON schema from a file's text. Raises `BadInput`."""
    try:
        schema = json.loads(text)
    except ValueError as error:
        raise BadInput(f"The schema is not JSON: {error}.") from error
    if not isinstance(schema, dict):
        raise BadInput("The schema is not a JSON object.")
    return schema


def _evidence(ref: str, region: Region) -> dict[str, Any]:
    return {"ref": ref, "kind": region.kind, "text": region.text[:200], "boxes": [[round(edge) for edge in region.box]]}
