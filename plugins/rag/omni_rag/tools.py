"""What the planner can do with the documents."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from omni.errors import BadInput
from omni.tools import Tool, ToolResult, tool
from omni_rag.evidence import Citation
from omni_rag.library import Library


def tools(library: Library) -> list[Tool]:
    """Both tools; their examples stand in the manifest.

    What they give is never trusted: documents are other people's words.
    """

    async def ask_documents(
        question: Annotated[str, Field(description="the question, complete in itself")],
        document: Annotated[str, Field(description="the name of one document to look in, if one was named")] = "",
    ) -> ToolResult:
        """Answer a question from the indexed documents, with document and page."""
        answer = await library.ask(question, await _named(library, document))
        said = answer.text
        if answer.supported and answer.citations:
            first = answer.citations[0]
            said = f"{said.rstrip()} That is in {first.document}, page {first.page}."
        return ToolResult(
            answer.plain(), say=said, trusted=False, evidence=tuple(_evidence(one) for one in answer.citations)
        )

    async def find_in_documents(
        query: Annotated[str, Field(description="what the passage is about")],
        document: Annotated[str, Field(description="the name of one document to look in, if one was named")] = "",
    ) -> ToolResult:
        """Find the passages of the indexed documents that are about something."""
        found = await library.find(query, await _named(library, document), 5)
        places = list(dict.fromkeys(f"{one.document}, page {one.page}" for one in found))
        said = f"Best on {places[0]}." if places else "I found nothing about that in the documents."
        if len(places) > 1:
            said = f"Best on {places[0]}; also {'; '.join(places[1:3])}."
        return ToolResult(
            [one.plain() for one in found], say=said, trusted=False, evidence=tuple(_evidence(one) for one in found)
        )

    return [tool(ask_documents, deadline_s=120), tool(find_in_documents, deadline_s=60)]


async def _named(library: Library, document: str) -> list[str]:
    """The document, if there is one of that name; a name the planner made up narrows nothing."""
    import asyncio

    from omni_rag.answer import chosen

    if not document.strip():
        return []
    try:
        chosen(await asyncio.to_thread(library.store.documents), [document])
    except BadInput:
        return []
    return [document]


def _evidence(citation: Citation) -> dict[str, object]:
    plain = citation.plain()
    return {
        "kind": "document",
        "plugin": "rag",
        "text": citation.quote[:200],
        "boxes": [plain["box"]],
        "page": citation.page,
        "document": citation.document,
        "path": citation.path,
    }
