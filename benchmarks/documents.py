"""Does it read receipts and invoices right: company, date, address, total?

Exact match as in SROIE (Huang et al., ICDAR 2019): the text of a field must be the truth's, letter for letter, but for
case and white space. For invoices whose truth is given as values, date and total are compared as values, and
the address is not asked. The control gives each page another page's truth.
"""

from __future__ import annotations

import asyncio
import datetime
import json
import re
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal, InvalidOperation
from pathlib import Path
from typing import Any

from card import Card, arguments

FIELDS = ("company", "date", "address", "total")


@dataclass(frozen=True)
class Page:
    """A document and its truth. `exact` is False where the truth is values rather than printed text."""

    path: Path
    truth: dict[str, str]
    exact: bool


def pages(folder: Path) -> list[Page]:
    """All documents with a truth: `NAME.json` beside `NAME.jpg`, `.png` or `.pdf`, in any folder below."""
    found = []
    for truth in sorted(folder.rglob("*.json")):
        images = [
            truth.with_suffix(end) for end in (".jpg", ".jpeg", ".png", ".pdf") if truth.with_suffix(end).is_file()
        ]
        if not images:
            continue
        data = json.loads(truth.read_text(encoding="utf-8"))
        if isinstance(data, list):
            data = data[0]
            data = {"company": data.get("issuer"), "date": data.get("date"), "total": data.get("amount")}
            found.append(Page(images[0], {k: str(v) for k, v in data.items() if v is not None}, False))
        else:
            found.append(Page(images[0], {k: str(data[k]) for k in FIELDS if data.get(k)}, True))
    return found


def plain(text: str) -> str:
    """SROIE's comparison: no white space, no case."""
    return "".join(text.upper().split())


def right(page: Page, name: str, text: str, value: str) -> bool:
    """Whether a field is what the truth says."""
    truth = page.truth[name]
    if plain(text) == plain(truth):
        return True
    if page.exact or name not in ("date", "total"):
        return False
    if name == "date":
        return value == truth
    try:
        return Decimal(value) == Decimal(truth)
    except InvalidOperation:
        return False


def by_patterns(texts: Sequence[str]) -> dict[str, tuple[str, str]]:
    """The dumb way: the first line, the first date, the next two lines, the last amount after the word "total"."""
    joined = "\n".join(texts)
    found: dict[str, tuple[str, str]] = {}
    if texts:
        found["company"] = (texts[0], texts[0])
        found["address"] = (" ".join(texts[1:3]),) * 2
    if match := re.search(r"\b(\d{1,4})[/.-](\d{1,2})[/.-](\d{2,4})\b|\b\d{1,2} [A-Za-z]{3,9} \d{4}\b", joined):
        found["date"] = (match[0], _iso(match[0]))
    amounts = re.findall(r"total[^\n]*?\n?[^\n\d]*?(\$?\d[\d.,]*[.,]\d{2})", joined, re.IGNORECASE)
    if amounts:
        found["total"] = (amounts[-1], amounts[-1].replace(",", "."))
    return found


def _iso(text: str) -> str:
    for pattern in ("%d/%m/%Y", "%d-%m-%Y", "%d/%m/%y", "%d-%m-%y", "%d %B %Y", "%d %b %Y", "%Y-%m-%d"):
        try:
            return datetime.datetime.strptime(text, pattern).date().isoformat()
        except ValueError:
            continue
    return ""


async def read(documents: Sequence[Page]) -> list[tuple[dict[str, tuple[str, str]], list[str], float]]:
    """(fields as (text, value), recognised lines, seconds) of each document."""
    import tempfile

    from omni_visual_chat.receipts import read_receipt
    from omni_visual_chat.seeing import Sight

    from omni.catalogue.store import ModelStore
    from omni.config import load_config
    from omni.errors import OmniError
    from omni.host.host import Host

    config = load_config()
    found: list[tuple[dict[str, tuple[str, str]], list[str], float]] = []
    with tempfile.TemporaryDirectory() as folder:
        host = Host(config, ModelStore.from_config(config), Path(folder), only={"vision", "visual_chat"})
        await host.start()
        try:
            sight = Sight(host)
            for page in documents:
                began = time.perf_counter()
                try:
                    lines = await sight.lines(page.path.read_bytes())
                except OmniError as error:
                    print(f"{page.path.name}: {error}")
                    found.append(({}, [], time.perf_counter() - began))
                    continue
                fields = {field.name: (field.text, str(field.value)) for field in read_receipt(lines).fields()}
                found.append((fields, [line.text for line in lines], time.perf_counter() - began))
        finally:
            await host.stop()
    return found


def matches(documents: Sequence[Page], found: Sequence[dict[str, tuple[str, str]]]) -> dict[str, float]:
    """Share of right fields, by field, where the truth has one."""
    figures = {}
    for name in FIELDS:
        asked = [(page, fields) for page, fields in zip(documents, found, strict=True) if name in page.truth]
        hits = sum(name in fields and right(page, name, *fields[name]) for page, fields in asked)
        figures[name] = hits / len(asked) if asked else 0.0
    return figures


def main() -> int:
    """Run it and print the claim card."""
    args = arguments("documents", "Does it read company, date, address and total right?", data="receipts")
    if args.data is None:
        print(
            "The receipts are not on this machine: set OMNI_TEST_DATA, or give --data DIR with NAME.jpg and NAME.json."
        )
        return 2
    documents = pages(args.data)
    card = Card("documents", args)
    card.data([page.path for page in documents], args.data)
    results = asyncio.run(read(documents))
    found = [fields for fields, _, _ in results]
    others = [
        Page(page.path, other.truth, other.exact)
        for page, other in zip(documents, [*documents[1:], documents[0]], strict=True)
    ]
    seconds = sorted(time_ for _, _, time_ in results[1:] or results)
    figures: dict[str, Any] = matches(documents, found)
    card.figures = figures | {"documents": len(documents), "seconds_p50": seconds[len(seconds) // 2]}
    card.baseline = matches(documents, [by_patterns(lines) for _, lines, _ in results])
    card.control = matches(others, found)
    scans = [(page, fields) for page, fields in zip(documents, found, strict=True) if page.exact]
    alone = matches([page for page, _ in scans], [fields for _, fields in scans])
    rows = [[name, *(one[k] for k in FIELDS)] for name, one in (
        ("read", card.figures), ("patterns over the text", card.baseline), ("another page's truth", card.control),
        (f"read, the {len(scans)} scanned receipts alone", alone),
    )]  # fmt: skip
    card.table(f"Exact match on {len(documents)} documents", ["method", *FIELDS], rows)
    wrong = [
        [page.path.name, name, page.truth[name][:50], fields.get(name, ("-",))[0][:50]]
        for page, fields in zip(documents, found, strict=True)
        for name in ("company", "date", "total")
        if name in page.truth and not (name in fields and right(page, name, *fields[name]))
    ]
    card.table("Not right", ["document", "field", "truth", "read"], wrong)
    card.expect("total", ">=", 0.85)
    card.expect("date", ">=", 0.85)
    card.notes.append("The rules were written with these receipts at hand.")
    return card.finish()


if __name__ == "__main__":
    sys.exit(main())
