"""Does it find the page, cite the box, and refuse what the documents do not say?

`docs_questions.toml` holds questions written by reading the pages. `page_hit@k`: the right page of the right document
among the first k pages; `box_hit`: the first citation is on the right page and overlaps the evidence box by IoU >= 0.5
(evidence boxes: see the file); `refused_right`: the share of unanswerable questions that are refused. The baseline is
BM25 over the text layer of whole pages; the control gives each question another question's page.

`--dev` asks the development set instead, the one that weights and thresholds may be fitted on (`docs_fit.py`); it
prints its tables and writes no card.
"""

from __future__ import annotations

import asyncio
import json
import logging
import math
import random
import re
import sys
import tempfile
import time
import tomllib
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from card import Card, arguments

QUESTIONS = Path(__file__).with_name("docs_questions.toml")
DEVELOPMENT = Path(__file__).with_name("docs_dev.toml")
PLUGINS = {"rag", "vision", "language"}


@dataclass(frozen=True)
class Question:
    """A question, where its answer stands, and the evidence's box where one is known."""

    text: str
    document: str
    page: int
    kind: str
    box: tuple[float, float, float, float] | None
    also: tuple[tuple[str, int], ...] = ()  #: pages that hold the same

    def right(self, page: tuple[str, int]) -> bool:
        """Whether the answer stands there."""
        return page == (self.document, self.page) or page in self.also


def questions(path: Path, folder: Path) -> tuple[list[Question], list[str]]:
    """(answerable, unanswerable) of a questions file."""
    data = tomllib.loads(path.read_text(encoding="utf-8"))
    names = {pdf.name for pdf in folder.rglob("*.pdf")}
    found = [
        Question(
            one["q"],
            one["doc"],
            one["page"],
            one["kind"],
            evidence(one, folder),
            tuple((document, page) for document, page in one.get("also", ())),
        )
        for one in data["answerable"]
    ]
    return [one for one in found if one.document in names], data["unanswerable"]


def evidence(one: dict[str, Any], folder: Path) -> tuple[float, float, float, float] | None:
    """The evidence's box, from the upper left corner of the page; None where nothing says it."""
    if "box" in one:
        return tuple(one["box"])
    truth = next(iter(folder.rglob(Path(one["doc"]).stem + ".json")), None)
    if truth is None or not {"find", "table", "picture"} & set(one):
        return None
    data = json.loads(truth.read_text(encoding="utf-8"))
    height = data["pages"][str(one["page"])]["size"]["height"]
    if "find" in one:
        wanted = squeezed(one["find"])
        items = [item for item in data["texts"] if wanted in squeezed(item["text"])]
    else:
        items = data["tables" if "table" in one else "pictures"]
    boxes = []
    for item in items:
        for place in item["prov"]:
            if place["page_no"] == one["page"]:
                box = place["bbox"]
                up = box["coord_origin"] == "BOTTOMLEFT"
                top, bottom = (height - box["t"], height - box["b"]) if up else (box["t"], box["b"])
                boxes.append((box["l"], top, box["r"], bottom))
    boxes.sort(key=lambda box: box[1])
    number = one.get("table") or one.get("picture") or 1
    return boxes[number - 1] if len(boxes) >= number else None


def squeezed(text: str) -> str:
    """Letters and digits alone."""
    return re.sub(r"\W+", "", text).casefold()


def iou(a: Any, b: Any) -> float:
    """Intersection over union."""
    shared = max(0.0, min(a[2], b[2]) - max(a[0], b[0])) * max(0.0, min(a[3], b[3]) - max(a[1], b[1]))
    total = (a[2] - a[0]) * (a[3] - a[1]) + (b[2] - b[0]) * (b[3] - b[1]) - shared
    return shared / total if total else 0.0


class Bm25:
    """Okapi BM25 over the text layer of pages."""

    def __init__(self, files: list[Path]) -> None:
        import pypdfium2

        self.pages: list[tuple[str, int]] = []
        self._counts: list[Counter[str]] = []
        for file in files:
            document = pypdfium2.PdfDocument(str(file))
            for i in range(len(document)):
                self.pages.append((file.name, i + 1))
                self._counts.append(Counter(re.findall(r"\w+", document[i].get_textpage().get_text_range().casefold())))
            document.close()
        self._lengths = [sum(count.values()) for count in self._counts]
        self._mean = sum(self._lengths) / max(1, len(self._lengths))

    def ask(self, question: str) -> list[tuple[str, int]]:
        """The pages, best first."""
        scores = [0.0] * len(self.pages)
        for word in set(re.findall(r"\w+", question.casefold())):
            held = sum(word in count for count in self._counts)
            weight = math.log(1 + (len(self.pages) - held + 0.5) / (held + 0.5))
            for i, count in enumerate(self._counts):
                n = count[word]
                scores[i] += weight * n * 2.2 / (n + 1.2 * (0.25 + 0.75 * self._lengths[i] / self._mean)) if n else 0.0
        return [self.pages[i] for i in sorted(range(len(scores)), key=lambda i: -scores[i])][:10]


async def run(
    files: list[Path], asked: list[Question], not_there: list[str], word: bool, index: Path | None
) -> dict[str, Any]:
    """Index the files, in a fresh folder unless one is given, and ask everything."""
    from omni_rag.library import Library

    from omni.catalogue.store import ModelStore
    from omni.config import load_config
    from omni.host.host import Host

    config = load_config()
    with tempfile.TemporaryDirectory() as folder:
        host = Host(config, ModelStore.from_config(config), Path(folder), only=PLUGINS)
        await host.start()
        library = Library(index or Path(folder) / "index", host)
        try:
            before = _cpu()
            summary = await library.index(files, _told())
            cost = built(library.store.folder, summary.pages, summary.seconds, _cpu() - before)
            print(f"indexed {summary.pages} pages in {summary.seconds:.0f} s; problems: {summary.problems}", flush=True)
            answers, seconds = [], []
            for question in [*(one.text for one in asked), *not_there]:
                began = time.perf_counter()
                answers.append(await library.ask(question, word=word))
                seconds.append(time.perf_counter() - began)
            return {"cost": cost, "answers": answers, "seconds": sorted(seconds)}
        finally:
            library.close()
            await host.stop()


def built(folder: Path, pages: int, seconds: float, cpu_s: float) -> dict[str, float]:
    """What building the index has cost, the runs before that built a part of it included."""
    kept = folder / "cost.json"
    cost = json.loads(kept.read_text()) if kept.exists() else {"pages": 0, "seconds": 0.0, "cpu_s": 0.0}
    if pages:
        cost = {"pages": cost["pages"] + pages, "seconds": cost["seconds"] + seconds, "cpu_s": cost["cpu_s"] + cpu_s}
        kept.write_text(json.dumps(cost))
    return cost


def _cpu() -> float:
    """Processor seconds of this process and of the parsers it started, so far."""
    import resource

    used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(one.ru_utime + one.ru_stime for one in used)


def _told() -> Any:
    """Says at every tenth page how far the index is."""

    def tell(progress: Any) -> None:
        if progress.stage == "reading" and progress.page and progress.pages % 10 == 0:
            print(f"  {progress.pages} pages, {progress.rate():.2f} pages/s, {Path(progress.now).name}", flush=True)

    return tell


def hits(asked: list[Question], ranked: list[list[tuple[str, int]]]) -> dict[str, float]:
    """page_hit@1 and @5."""
    pairs = list(zip(asked, ranked, strict=True))
    first = sum(any(one.right(page) for page in pages[:1]) for one, pages in pairs)
    five = sum(any(one.right(page) for page in pages[:5]) for one, pages in pairs)
    return {"page_hit@1": first / max(1, len(asked)), "page_hit@5": five / max(1, len(asked))}


def box_hits(asked: list[Question], answers: list[Any]) -> float:
    """Share of questions with a known box whose first citation overlaps it."""
    known = [(one, answer) for one, answer in zip(asked, answers, strict=True) if one.box]
    right = 0
    for one, answer in known:
        first = answer.citations[0] if answer.citations else None
        right += bool(
            first and (first.document, first.page) == (one.document, one.page) and iou(first.box, one.box) >= 0.5
        )
    return right / len(known) if known else 0.0


def show(
    card: Card, asked: list[Question], answers: list[Any], plain: Any, not_there: list[str], refusals: Any
) -> None:
    """The tables: by kind, and what went wrong."""
    ranked = [pages_of(answer) for answer in answers]
    rows = []
    for kind in [*sorted({one.kind for one in asked}), "all"]:
        some = [i for i, one in enumerate(asked) if kind in (one.kind, "all")]
        part = [asked[i] for i in some]
        own, base = hits(part, [ranked[i] for i in some]), hits(part, [plain[i] for i in some])
        box = box_hits(part, [answers[i] for i in some])
        refused = sum(not answers[i].supported for i in some) / len(some)
        row = [kind, len(some), own["page_hit@1"], own["page_hit@5"], box, refused]
        rows.append([*row, base["page_hit@1"], base["page_hit@5"]])
    card.table("By kind", ["kind", "n", "page@1", "page@5", "box", "refused", "BM25 @1", "BM25 @5"], rows)
    wrong = []
    for one, pages, answer in zip(asked, ranked, answers, strict=True):
        place = next((i + 1 for i, page in enumerate(pages) if one.right(page)), 0)
        first = answer.citations[0] if answer.citations else None
        missed = bool(one.box and (not first or iou(first.box, one.box) < 0.5))
        if place != 1 or not answer.supported or missed:
            said = "refused" if not answer.supported else "box" if missed and place == 1 else ""
            top = f"{pages[0][0]} {pages[0][1]}" if pages else "-"
            where = f"{one.document} {one.page}"
            wrong.append([where, one.kind, one.text[:64], place or "-", top, said, f"{answer.confidence:.2f}"])
    columns = ["stands on", "kind", "question", "rank", "first", "", "sure"]
    card.table("Wrong page first, refused, or another box", columns, wrong)
    said = [
        [text[:70], answer.text[:60].replace("\n", " "), f"{answer.confidence:.2f}"]
        for text, answer in zip(not_there, refusals, strict=True)
        if answer.supported
    ]
    card.table("Answered, though nothing says it", ["question", "answer", "sure"], said)


def pages_of(answer: Any) -> list[tuple[str, int]]:
    """The best pages of an answer."""
    return [(page["document"], page["page"]) for page in answer.pages]


def main() -> int:
    """Run it and print the claim card."""
    logging.basicConfig(level=logging.ERROR)
    args = arguments(
        "docs",
        "Page, box, refusal?",
        data="pdf",
        word={"action": "store_true", "help": "let the chat model word answers"},
        dev={"action": "store_true", "help": "ask the development set; no card is written"},
        questions={"type": Path, "help": "another questions file"},
        index={"type": Path, "help": "keep the index in this folder, and use what is in it"},
    )
    if args.data is None:
        print("The PDFs are not on this machine: set OMNI_TEST_DATA, or give --data DIR.")
        return 2
    source = args.questions or (DEVELOPMENT if args.dev else QUESTIONS)
    asked, not_there = questions(source, args.data)
    files = sorted(args.data.rglob("*.pdf"))
    if args.quick:
        asked = [one for one in asked if one.kind != "scan" and not one.document.startswith(("Bench", "Chair"))]
        files = [path for path in files if path.name in {one.document for one in asked}]
        asked, not_there = asked[::3], not_there[::2]
    card = Card("docs", args)
    card.data([*files, source])
    result = asyncio.run(run(files, asked, not_there, args.word, args.index))
    answers, refusals = result["answers"][: len(asked)], result["answers"][len(asked) :]
    simple = Bm25(files)
    plain = [simple.ask(one.text) for one in asked]
    others = asked[:]
    random.Random(args.seed).shuffle(others)
    ranked = [pages_of(answer) for answer in answers]
    seconds = result["seconds"]
    card.figures = hits(asked, ranked) | {
        "box_hit": box_hits(asked, answers),
        "refused_right": sum(not answer.supported for answer in refusals) / len(refusals),
        "refused_wrongly": sum(not answer.supported for answer in answers) / len(answers),
        "questions": len(asked),
        "with_box": sum(one.box is not None for one in asked),
        "unanswerable": len(not_there),
        "pages": result["cost"]["pages"],
        "index_pages_per_s": result["cost"]["pages"] / max(0.01, result["cost"]["seconds"]),
        "index_cpu_s_per_page": result["cost"]["cpu_s"] / max(1, result["cost"]["pages"]),
        "answer_s_p50": seconds[len(seconds) // 2],
        "answer_s_p95": seconds[int(0.95 * (len(seconds) - 1))],
    }
    card.baseline = hits(asked, plain)
    card.control = hits(others, ranked) | {"box_hit": box_hits(others, answers)}
    show(card, asked, answers, plain, not_there, refusals)
    card.expect("page_hit@5", ">=", 0.85)
    card.expect("box_hit", ">=", 0.5)
    card.expect("refused_right", ">=", 0.8)
    card.notes.append(
        "Answers are the documents' own sentences; with --word the chat model words them and may refuse more."
    )
    if args.dev:
        print(json.dumps(card.as_dict(), ensure_ascii=False), flush=True)
        return 0
    return card.finish()


if __name__ == "__main__":
    sys.exit(main())
