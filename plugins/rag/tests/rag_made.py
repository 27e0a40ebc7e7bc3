"""PDFs made by hand, and a host with small fakes, for the tests of the documents plugin."""

from __future__ import annotations

import hashlib
import re
import zlib

import numpy as np

from omni.capabilities import ChatDelta, ChatModel, Embedder, Memory, Region, Reranker, TextReader
from omni.errors import CapabilityUnavailable


def pdf(pages, *, rotate=0, encrypt=False, size=(612, 792)):
    """A PDF of content streams (bytes), each a page; Helvetica is /F1, its bold /F2."""
    objects = ["<< /Type /Catalog /Pages 2 0 R >>", "", "<< /Type /Font /Subtype /Type1 /BaseFont /Helvetica >>"]
    objects.append("<< /Type /Font /Subtype /Type1 /BaseFont /Helvetica-Bold >>")
    kids = []
    for content in pages:
        data = zlib.compress(content)
        objects.append(b"<< /Length %d /Filter /FlateDecode >>\nstream\n" % len(data) + data + b"\nendstream")
        objects.append(
            f"<< /Type /Page /Parent 2 0 R /MediaBox [0 0 {size[0]} {size[1]}] /Rotate {rotate} "
            f"/Contents {len(objects)} 0 R /Resources << /Font << /F1 3 0 R /F2 4 0 R >> >> >>"
        )
        kids.append(f"{len(objects)} 0 R")
    objects[1] = f"<< /Type /Pages /Kids [{' '.join(kids)}] /Count {len(kids)} >>"
    if encrypt:
        key = "00" * 32
        objects.append(f"<< /Filter /Standard /V 1 /R 2 /O <{'28' * 32}> /U <{key}> /P -4 >>")
    out, offsets = b"%PDF-1.4\n", []
    for number, body in enumerate(objects, 1):
        offsets.append(len(out))
        out += b"%d 0 obj\n" % number + (body if isinstance(body, bytes) else body.encode()) + b"\nendobj\n"
    start = len(out)
    out += b"xref\n0 %d\n0000000000 65535 f \n" % (len(objects) + 1)
    out += b"".join(b"%010d 00000 n \n" % offset for offset in offsets)
    more = f" /Encrypt {len(objects)} 0 R /ID [<00> <00>]" if encrypt else ""
    out += f"trailer << /Size {len(objects) + 1} /Root 1 0 R{more} >>\nstartxref\n{start}\n%%EOF".encode()
    return out


def text(x, y, words, size=11, font="F1", turn="1 0 0 1"):
    """Text at (x, y) from the lower left corner."""
    words = words.replace("\\", "\\\\").replace("(", "\\(").replace(")", "\\)")
    return f"BT /{font} {size} Tf {turn} {x} {y} Tm ({words}) Tj ET\n".encode()


def lines(x, y, rows, size=11, pitch=13):
    """Lines below each other."""
    return b"".join(text(x, y - i * pitch, row, size) for i, row in enumerate(rows))


def grid(x, y, widths, rows, height=18):
    """A table with ruled cells whose upper left corner is (x, y)."""
    out, total = b"0.8 w\n", sum(widths)
    for i in range(len(rows) + 1):
        out += f"{x} {y - i * height} m {x + total} {y - i * height} l S\n".encode()
    left = x
    for width in [0, *widths]:
        left += width
        out += f"{left} {y} m {left} {y - len(rows) * height} l S\n".encode()
    for i, row in enumerate(rows):
        left = x
        for width, cell in zip(widths, row, strict=True):
            out += text(left + 4, y - i * height - 13, cell, 9)
            left += width
    return out


def manual(words="Turn the four legs clockwise until they are tight."):
    """A short manual of two pages."""
    first = text(72, 720, "Assembly of the chair", 20, "F2")
    first += lines(72, 680, ["The Borgholm chair comes in a flat box with four legs,", "one seat and eight screws."])
    first += text(72, 620, "Fitting the legs", 14, "F2") + lines(72, 596, [words, "A key is in the box."])
    second = text(72, 720, "Care", 20, "F2")
    second += lines(
        72,
        680,
        ["Wipe the seat with a damp cloth and mild soap.", "The warranty lasts ten years from the day of purchase."],
    )
    return pdf([first, second])


def stems(words):
    """Words as the fakes compare them."""
    return [word[:6] for word in re.findall(r"\w+", words.casefold())]


class Bag:
    """An embedder: words hashed into 64 places."""

    space, dimension = "text", 64

    def __init__(self):
        self.texts = 0

    async def embed_text(self, texts, *, query=False):
        self.texts += len(texts)
        vectors = np.full((len(texts), 64), 1e-3, np.float32)
        for row, one in zip(vectors, texts, strict=True):
            for word in stems(one):
                row[hashlib.md5(word.encode()).digest()[0] % 64] += 1
        return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


class Shared:
    """A re-ranker: the share of the question's words in the passage."""

    async def rerank(self, query, passages):
        asked = set(stems(query))
        return [len(asked & set(stems(one))) / max(1, len(asked)) for one in passages]


class Reader:
    """Text recognition that reads the same in every picture."""

    def __init__(self, said="The boiler pressure must stay below two bar."):
        self.said, self.calls = said, 0

    async def read(self, image):
        self.calls += 1
        assert image.startswith(b"\xff\xd8")
        return [Region("text", self.said, (20.0, 30.0, 600.0, 60.0), 0.9)] if self.said else []


class Speaker:
    """A chat model that says what it was told to."""

    def __init__(self, said):
        self.said, self.asked = said, []

    async def chat(self, request):
        self.asked.append(request)
        yield ChatDelta(text=self.said)
        yield ChatDelta(finish="stop")


class Remembering:
    """A memory in a dict."""

    def __init__(self):
        self.kept = {}

    async def remember(self, moments):
        self.kept |= {moment.id: moment for moment in moments}
        return [moment.id for moment in moments]

    async def forget(self, ids=(), **_):
        return sum(self.kept.pop(one, None) is not None for one in ids)

    async def export(self, *, sources=(), **_):
        for moment in list(self.kept.values()):
            if moment.source in sources:
                yield moment


class FakeHost:
    """`get` gives these, or says that nobody offers it."""

    def __init__(self, **others):
        self.have = {Embedder: Bag(), Reranker: Shared(), TextReader: Reader(), Memory: None, ChatModel: None}
        by_name = {one.__name__: one for one in self.have}
        self.have |= {by_name[name]: value for name, value in others.items()}

    def get(self, protocol, **_):
        found = self.have.get(protocol)
        if found is None:
            raise CapabilityUnavailable(f"Nobody offers {protocol.__name__}.")
        return found
