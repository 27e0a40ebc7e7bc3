"""Comparing and listing words."""

from __future__ import annotations

import re


def plain(text: str) -> str:
    """Lower case, letters and digits only, single spaces: what two texts are compared by."""
    return re.sub(r"[^\w]+", " ", text.lower().replace("’", "'").replace("'", " ")).strip()


def word_list(text: str) -> list[str]:
    """The words of a listing in the source."""
    return text.split()


def word_set(text: str) -> frozenset[str]:
    """The words of a listing in the source, to look up in."""
    return frozenset(text.split())
