"""The file or folder a request names, read from its words."""

from __future__ import annotations

import re
from typing import Any

#: A name with an ending, or a path: "notes.md", "~/music", "/etc/hosts", "report dot txt".
_FILE = r"(?:[~/.\\]?[\w./\\~-]*[\w-]{2})\.(?!(?:com|org|net|edu|gov|info|dev|io|de|uk|fr|eu)\b)[a-z][a-z0-9]{0,4}"
_WITH_ENDING = re.compile(rf"(?<![\w@/:.]){_FILE}(?![\w/])", re.IGNORECASE)
_PATH = re.compile(r"(?<![\w:/])(?:~/|/|\./|[a-z]:\\)[\w./\\~-]*[\w~-]", re.IGNORECASE)
_DOT = re.compile(
    r"\s+dot\s+(?=(?:txt|md|csv|json|yaml|yml|toml|py|js|html?|xml|log|pdf|docx?|xlsx?|odt|png|jpe?g|svg|mp[34]|ini|sh)\b)",
    re.IGNORECASE,
)
#: "the file shopping list dot txt": the name has several words, and where they begin is said.
_CALLED = re.compile(
    r"\b(?:(?:the|open|read|show|display) (?:text )?(?:file|document)|(?:file|document) (?:called|named)|"
    r"the (?:file|document) (?:called|named|with the name))\s+"
    r"(?P<name>(?!(?:on|in|from|with|that|which|called|named|i|is|of|to|say|says)\b)[\w'. -]+?)"
    r"(?: (?:to me|for me|aloud|out loud|please|(?:from|on) (?:(?:my|this|the) )?(?:disk|computer))\b.*)?[?.!]*$",
    re.IGNORECASE,
)
_FOLDER = re.compile(
    r"\b(?:the |my |our |a )?(?:folder|directory)(?: (?:called|named))? (?P<after>(?!(?:is|are|has|have|and|of|on)\b)"
    r"[\w.~/\\-]+)[?.!]*$"
    r"|\b(?:the|my|our|in|list|ls|into|inside) (?P<before>(?!(?:the|my|our|this|that|which|what|in)\b)[\w.~/\\-]+"
    r"(?: (?!folder|directory)[\w.-]+)?) (?:folder|directory)\b"
    r"|\bon (?:my|the) (?P<desk>desktop)\b",
    re.IGNORECASE,
)
_HERE = re.compile(r"\b(?:this|the current|the present|the same|here)\b(?: (?:folder|directory))?", re.IGNORECASE)
_IN_THE_NAME = re.compile(
    r"\b(?:with|contains?|containing|includes?|has|having|named|called)\s+(?:the (?:word|name)s?\s+)?"
    r"(?P<name>[\w.-]+)\s+in (?:its|the|their|his) (?:file ?)?names?\b"
    r"|\bwhose names? (?:contains?|includes?|has|have) (?:the word )?(?P<contains>[\w.-]+)"
    r"|\bfiles?(?: that (?:is|are))? (?:named|called) (?P<called>[\w.-]+(?: [\w.-]+){0,2}?)[?.!]*$"
    r"|\bwith the name (?P<named>[\w.-]+)"
    r"|\bfiles? with (?:my|our) (?P<of>[\w.-]+(?: [\w.-]+)?)[?.!]*$",
    re.IGNORECASE,
)


def _ending(request: str) -> str:
    """The one file name with an ending (or path) that is said; empty where there is none or there are several."""
    words = _DOT.sub(".", request)
    found = list(dict.fromkeys(_WITH_ENDING.findall(words) or _PATH.findall(words)))
    return found[0] if len(found) == 1 and not re.search(r"https?:|\bwww\.", request, re.IGNORECASE) else ""


def read_path(request: str) -> dict[str, Any] | None:
    """The file that is to be read."""
    words = _DOT.sub(".", request.strip())
    if called := _CALLED.search(words):
        return {"path": called["name"].strip()}
    return {"path": name} if (name := _ending(request)) else None


def read_folder(request: str) -> dict[str, Any] | None:
    """The folder that is to be listed; nothing for "this folder"."""
    if found := _PATH.search(request):
        return {"folder": found.group()}
    if found := _FOLDER.search(request):
        name = found["after"] or found["before"] or found["desk"]
        if not _HERE.fullmatch(name) and name.lower() not in ("current", "present", "same", "called", "named"):
            return {"folder": name.strip()}
    return {} if _HERE.search(request) else None


def read_name(request: str) -> dict[str, Any] | None:
    """The words of the name of the file that is looked for."""
    if found := _IN_THE_NAME.search(request.strip()):
        return {"name": next(group for group in found.groups() if group)}
    return {"name": name} if (name := _ending(request)) else None
