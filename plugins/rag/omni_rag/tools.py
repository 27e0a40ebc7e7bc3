"""What the planner can do with the documents."""

from __future__ import annotations

import re
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

    return [
        tool(ask_documents, deadline_s=120, extract=_question),
        tool(find_in_documents, deadline_s=60, extract=_place_wanted),
    ]


#: A place in a document is asked for, not an answer: "find the page about ...", "which of my PDFs mentions ...".
_PLACE = re.compile(
    r"\b(?:find|show|search|give|list|look up|look for|where|which)\b(?: \S+){0,4}? "
    r"(?P<place>(?<!web )(?:passages?|pages?|paragraphs?|sections?|chapters?|slides?|clauses?)\b.*)"
    r"|\bwhich (?:of my |of the )?(?:documents?|pdfs?|papers?) (?:\w+ )?(?:about|mentions?|talks?|names?|covers?) "
    r"(?P<which>.+)"
    r"|\bsearch (?:all |through )?(?:my|the|our) (?:documents?|pdfs?|papers?) for (?P<search>.+)",
    re.IGNORECASE,
)

#: A document of one's own is named, and asked ("what does the lease say ...").
_SOURCE = re.compile(
    r"\b(?:the|my|our|its|\w+'s|by|to) (?:[\w-]+ ){0,2}?(?:manual|handbook|instructions?|contract|lease|polic(?:y|ies)|"
    r"data ?sheet|annual report|guidelines?|brochure|tender|documents?|papers?|pdfs?|study|report|thesis|"
    r"specification)\b",
    re.IGNORECASE,
)
_ASKED = re.compile(
    r"\b(?:what|which|how|who|when|where|why|does|did|says?|according|look|check|see|tell me)\b", re.IGNORECASE
)
#: Not these documents: what is attached, shown, lying in a folder, or was talked about.
_OTHER = re.compile(
    r"\b(?:attach\w*|upload\w*|dropp\w*|gave you|sent you|picture|photo|image|screen|webcam|folder|director(?:y|ies)|"
    r"files?|board|remind\w*|remember\w*|forget|memory|open(?:ed)?|shown|earlier|yesterday|code|"
    r"(?:i|we) (?:said?|tell|told|mention\w*|talk\w*|discuss\w*|decided?|had|have))\b",
    re.IGNORECASE,
)


def _question(request: str) -> dict[str, str] | None:
    """The question itself, where it names a document it is asked of; None where it does not, or asks for a place."""
    of_documents = _SOURCE.search(request) and _ASKED.search(request) and not _OTHER.search(request)
    return {"question": request.strip()} if of_documents and _place_wanted(request) is None else None


def _place_wanted(request: str) -> dict[str, str] | None:
    """What the passage is about; None where no place in a document is asked for."""
    found = _PLACE.search(request)
    return {"query": next(group for group in found.groups() if group).strip(" .?!")} if found else None


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
