"""Code by what it does: definitions in the granted folders, ranked by BM25 over their words.

Plain retrieval, no index: names are split ("runningMean", "running_mean" are two words each) and count
three times what the body counts. BM25 as in Robertson & Zaragoza (2009), k1 = 1.2, b = 0.75.
"""

from __future__ import annotations

import math
import re
from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

    from omni_tools.files import Roots

SUFFIXES = frozenset(
    {".py", ".js", ".ts", ".jsx", ".tsx", ".c", ".h", ".cpp", ".hpp", ".cc", ".java", ".go", ".rs", ".rb", ".php",
     ".cs", ".kt", ".swift", ".lua", ".sh", ".vue", ".svelte"}
)  # fmt: skip
#: Files and bytes that one question looks at.
MOST_CODE_FILES = 4000
LARGEST_FILE = 400_000
#: Lines of one definition that count.
LONGEST_DEFINITION = 80

_DEFINITION = re.compile(
    r"^(?P<indent>\s*)(?:(?:export|default|public|private|protected|static|async|pub|inline|final|virtual)\s+)*"
    r"(?:(?:def|class|function|func|fn|struct|interface|trait|impl|enum)\s+(?P<name>[A-Za-z_$][\w$]*)"
    r"|(?:const|let|var)\s+(?P<arrow>[A-Za-z_$][\w$]*)\s*=\s*(?:async\s*)?(?:function|\([^)]*\)\s*=>|\w+\s*=>)"
    r"|[A-Za-z_][\w:<>,*&\s]*?\s[*&]?(?P<c>[A-Za-z_]\w*)\s*\([^;]*\)\s*\{)",
)
_STOP = frozenset(
    {"the", "an", "of", "in", "to", "for", "is", "that", "this", "which", "what", "where", "how", "does", "do", "it",
     "function", "method", "class", "code", "source", "we", "and", "or", "on", "explain", "show", "me", "find",
     "computes", "compute", "calculates", "walk", "through", "line", "lines", "file", "part", "piece", "our", "my",
     "with", "by"}
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Definition:
    """A function or class: where it is, its name and its lines."""

    file: str
    line: int
    name: str
    text: str


def words(text: str) -> list[str]:
    """The words of prose or code, names split, endings cut to a common stem."""
    text = re.sub(r"([a-z0-9])([A-Z])", r"\1 \2", text).replace("_", " ").lower()
    return [_stem(word) for word in re.findall(r"[a-z][a-z0-9]+", text) if word not in _STOP]


def _stem(word: str) -> str:
    for ending in ("ations", "ation", "ings", "ing", "ies", "es", "ed", "s", "e"):
        if word.endswith(ending) and len(word) - len(ending) >= 3:
            return word[: -len(ending)]
    return word


def definitions(path: Path) -> list[Definition]:
    """The functions and classes of one file."""
    lines = path.read_text("utf-8", "replace").splitlines()
    starts = [(number, match) for number, line in enumerate(lines) if (match := _DEFINITION.match(line))]
    found = []
    for position, (number, match) in enumerate(starts):
        end = starts[position + 1][0] if position + 1 < len(starts) else len(lines)
        name = match["name"] or match["arrow"] or match["c"]
        if name in ("if", "for", "while", "switch", "return", "else", "catch"):
            continue
        body = lines[number : min(end, number + LONGEST_DEFINITION)]
        found.append(Definition(str(path), number + 1, name, "\n".join(body).rstrip()))
    return found


def nearest(question: str, roots: Roots, count: int = 5) -> list[Definition]:
    """The definitions that fit a question best."""
    asked = Counter(words(question))
    if not asked:
        return []
    documents: list[tuple[Definition, Counter[str], int]] = []
    files = 0
    for path in roots.walk():
        if path.suffix.lower() not in SUFFIXES:
            continue
        files += 1
        if files > MOST_CODE_FILES:
            break
        try:
            if path.stat().st_size > LARGEST_FILE:
                continue
            for definition in definitions(path):
                counts = Counter(words(definition.text))
                for word in words(definition.name):
                    counts[word] += 3
                documents.append((definition, counts, sum(counts.values())))
        except OSError:
            continue  # vanished or unreadable: the others can still answer
    return _ranked(asked, documents)[:count]


def _ranked(asked: Counter[str], documents: list[tuple[Definition, Counter[str], int]]) -> list[Definition]:
    """By BM25; definitions without any of the words don't count."""
    if not documents:
        return []
    mean = sum(size for _, _, size in documents) / len(documents)
    containing = {word: sum(word in counts for _, counts, _ in documents) for word in asked}
    scored = []
    for definition, counts, size in documents:
        score = 0.0
        for word in asked:
            if frequency := counts.get(word, 0):
                rarity = math.log(1 + (len(documents) - containing[word] + 0.5) / (containing[word] + 0.5))
                score += rarity * frequency * 2.2 / (frequency + 1.2 * (0.25 + 0.75 * size / mean))
        if score > 0:
            scored.append((score, definition))
    return [definition for _, definition in sorted(scored, key=lambda pair: -pair[0])]
