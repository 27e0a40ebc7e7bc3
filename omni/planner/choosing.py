"""Understanding a request: its parts, and the tool each needs.

Examples decide where they can, a tool's own reading of the words comes next, and only what is left
is asked of the model: a short list, with the nearest examples as demonstrations, under a grammar.
"""

from __future__ import annotations

import json
import re
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from omni.capabilities import ChatModel, Embedder, Memory, Moment
from omni.errors import BadInput, CapabilityUnavailable, OmniError
from omni.planner.selection import NONE, WORDS_SURE, Example, ExampleIndex, Route, demonstrations, embed_words
from omni.planner.split import refers_back, split, without_preamble
from omni.tools import Tool

if TYPE_CHECKING:
    from pathlib import Path

    from omni.host.host import Host
    from omni.planner.arguments import AskJson

#: What a correction is called in the shared memory.
CORRECTION = "correction"
#: What no tool reads anything out of, unless it takes any words.
NOT_FOR_TOOLS = ("tell me a story about a dragon", "why do leaves turn red")
#: What a request is about when something is shown with it.
SHOWN = {
    "image": "in this picture",
    "drawing": "in this picture",
    "camera": "in front of the camera",
    "screen": "on the screen",
    "document": "in this attached document",
}
#: The lead from which a tool is believed though it reads no arguments out of the words: the model writes them then.
WIDE = 0.12
#: Below this score the nearest tool is too far away to keep a person waiting for the model's opinion of it.
WORTH_ASKING = 0.3
#: Without a model to ask, the nearest tool is taken from this score on.
ALONE = 0.4

_ELLIPSIS = re.compile(
    r"^\W*(and|what about|how about|make (it|that)|no|not|i meant|i mean|now|then|or|but|also|same)\b", re.I
)
_CORRECTING = re.compile(r"^\W*(no\b|not |i meant|i mean|that's wrong|wrong)", re.I)


@dataclass(frozen=True, slots=True)
class Part:
    """A piece of the request and the tool it needs ("none": just talk); `bound` when it rests on earlier parts."""

    words: str
    tool: str
    how: str
    bound: bool = False


@dataclass(frozen=True, slots=True)
class Before:
    """What the last turn with a tool was: "and in kilometres?" goes on from there."""

    words: str
    tool: str


class Chooser:
    """Chooses tools for requests. One for all sessions: the index of examples is shared."""

    def __init__(self, host: Host, folder: Path | None = None) -> None:
        self.host = host
        self._folder = folder
        self._index: ExampleIndex | None = None
        self._learned: list[Example] | None = None

    async def index(self, tools: Sequence[Tool]) -> ExampleIndex:
        """The index of these tools' examples and of the corrections so far."""
        if self._learned is None:
            self._learned = await self._recall_corrections()
        if self._index is None:
            self._index = self._make_index()
        try:
            await self._index.prepare(tools, self._learned)
        except CapabilityUnavailable:
            self._index = ExampleIndex(embed_words, sure=WORDS_SURE)
            await self._index.prepare(tools, self._learned)
        return self._index

    def _make_index(self) -> ExampleIndex:
        try:
            self.host.get(Embedder, space="text")
        except CapabilityUnavailable:
            return ExampleIndex(embed_words, sure=WORDS_SURE)

        async def embed(texts: Sequence[str]) -> Any:
            return await self.host.get(Embedder, space="text").embed_text(texts)

        return ExampleIndex(embed, self._folder)

    async def parts(
        self, text: str, tools: dict[str, Tool], ask: AskJson, before: Before | None = None, shown: str = ""
    ) -> tuple[list[Part], Route]:
        """The parts of a request, and where the whole of it pointed.

        `shown` is the kind of attachment that goes with it: "what is this" means another thing with a picture.
        With a model that calls tools by itself nothing is asked: what the examples and the words leave open is
        left to its own calls ("none" here).
        """
        index = await self.index(list(tools.values()))
        text = without_preamble(text)
        routes = await split(text, index, lambda route: speaks_for(route, tools))
        if shown and len(routes) == 1 and routes[0].decided in ("", NONE):
            about = (await index.routes([f"{text.rstrip(' ?.!')} {SHOWN.get(shown, 'in this picture')}"]))[0]
            routes = [replace(about, text=text)]
        elif before and len(routes) == 1 and len(text.split()) <= 9 and _ELLIPSIS.match(text) and before.tool in tools:
            if (whole := goes_on(before.words, text)) and _reads(tools[before.tool], whole):
                return [Part(whole, before.tool, "words")], routes[0]
            route = _continued(routes[0], before)
            name = await self._ask_which(route, [before.tool, *route.short_list(2)], tools, ask)
            return [Part(text, name, "model", bound=True)], route
        parts = []
        for position, route in enumerate(routes):
            name, how = await self.choose(route, tools, ask)
            parts.append(Part(route.text, name, how, bound=position > 0 and refers_back(route.text)))
        return parts, routes[0]

    async def choose(self, route: Route, tools: dict[str, Tool], ask: AskJson) -> tuple[str, str]:
        """The tool for one part and how it was chosen."""
        decided = route.decided
        if decided not in ("", NONE) and (nearer := _reads_more(route, tools)):
            return nearer, "words"
        if decided and decided != NONE and (route.margin > WIDE or not finds_nothing(tools[decided], route.text)):
            return decided, "example"
        if spoken := speaks_for(route, tools):
            return spoken, "words"
        if NONE in (decided, route.best) or route.score < WORTH_ASKING:
            # Small models hardly ever say "none", and asking costs the person seconds of silence: where plain talk
            # is the nearest, or nothing is near, and no tool reads anything out of the words, that is believed.
            return NONE, "example"
        names = [n for n in route.short_list() if n == route.best or not finds_nothing(tools[n], route.text)]
        return await self._ask_which(route, names, tools, ask), "model"

    async def _ask_which(self, route: Route, names: Sequence[str], tools: dict[str, Tool], ask: AskJson) -> str:
        names = list(dict.fromkeys(names))
        if not names or self._native():
            return NONE
        schema = {
            "type": "object",
            "properties": {"tool": {"enum": [*names, NONE]}},
            "required": ["tool"],
            "additionalProperties": False,
        }
        try:
            chosen = json.loads(await ask(which_tool(route, names, tools), schema))["tool"]
        except CapabilityUnavailable:
            return route.best if route.score >= ALONE else NONE
        except (json.JSONDecodeError, KeyError, TypeError, BadInput):
            return NONE
        return chosen if chosen in names else NONE

    def _native(self) -> bool:
        try:
            return bool(self.host.get(ChatModel).native_tools)
        except CapabilityUnavailable:
            return False

    # -- corrections --------------------------------------------------------------------------

    async def correct(self, words: str, tool: str) -> str:
        """Learn that `tool` (or "none") is right for these words.

        Returns the id that `revoke` takes; empty where no memory keeps it beyond this run.
        """
        learned = Example(words, tool, learned=True)
        self._learned = [e for e in self._learned or [] if e.text != words] + [learned]
        try:
            now = time.time()
            moment = Moment(CORRECTION, words, now, now, data={"tool": tool})
            return (await self.host.get(Memory).remember([moment]))[0]
        except OmniError:
            return ""

    async def revoke(self, correction: str) -> None:
        """Forget a correction."""
        await self.host.get(Memory).forget([correction])
        self._learned = None

    async def _recall_corrections(self) -> list[Example]:
        try:
            recalled = await self.host.get(Memory).recall(sources=[CORRECTION], limit=200)
        except OmniError:
            return []
        return [Example(r.moment.text, str(r.moment.data.get("tool", NONE)), learned=True) for r in recalled]

    def corrected(self, text: str, before: Before | None, parts: Sequence[Part]) -> Example | None:
        """What "no, I meant the camera" teaches: the last request, with the tool that is taken now."""
        if before is None or not _CORRECTING.match(text) or len(parts) != 1:
            return None
        now = parts[0].tool
        return Example(before.words, now) if now not in (NONE, before.tool) else None


def speaks_for(route: Route, tools: dict[str, Tool]) -> str:
    """The nearest tool that reads arguments out of the words; empty where none does.

    A tool that reads something out of any words at all gives evidence only where it takes a part of them.
    """
    for name in route.short_list():
        tool = tools[name]
        read = tool.extract(route.text) if tool.extract is not None else None
        if read and (_is_selective(tool) or any(value != route.text for value in read.values())):
            return name
    return ""


def _reads_more(route: Route, tools: dict[str, Tool]) -> str:
    """A tool almost as near as the best whose reading of the words says more than nearness: it takes only what is
    meant for it and finds it here, where the best takes any words. Empty where there is none."""
    if route.margin > WIDE or _is_selective(tools[route.best]):
        return ""
    spoken = speaks_for(route, tools)
    scores = dict(route.ranked)
    return spoken if spoken and _is_selective(tools[spoken]) and route.score - scores[spoken] <= WIDE else ""


def goes_on(before: str, text: str) -> str:
    """The last request with what "and 20 km?" changes of it; empty where that is not plain.

    The new words must have the shape of exactly one place in the old ones: "20 km" takes the place of "10 km".
    """
    new = _ELLIPSIS.sub("", text, count=1).strip(" ,.?!").split()
    old = before.split()
    shape = [_shape(word) for word in new]
    if not new or "#" not in shape:
        return ""
    places = [at for at in range(len(old)) if [_shape(word) for word in old[at : at + len(new)]] == shape]
    if len(places) != 1:
        return ""
    return " ".join([*old[: places[0]], *new, *old[places[0] + len(new) :]])


def _shape(word: str) -> str:
    return re.sub(r"\d+(?:[.,]\d+)*", "#", word.lower().strip(",.?!"))


def _reads(tool: Tool, words: str) -> bool:
    return tool.extract is not None and bool(tool.extract(words))


def finds_nothing(tool: Tool, words: str) -> bool:
    """Whether a tool that reads its arguments out of the words finds none here."""
    return tool.extract is not None and tool.extract(words) is None


def _is_selective(tool: Tool) -> bool:
    """Whether the tool's reading says no to what is clearly not for it."""
    return tool.extract is not None and all(tool.extract(words) is None for words in NOT_FOR_TOOLS)


def _continued(route: Route, before: Before) -> Route:
    """The route of a request that goes on from the last one, its example first."""
    return Route(route.text, route.ranked, (Example(before.words, before.tool), *route.near))


def which_tool(route: Route, names: Sequence[str], tools: dict[str, Tool]) -> str:
    """The question to the model: which of these few, with the nearest examples as demonstrations."""
    lines = ["Which tool does this request need? Answer with JSON.", ""]
    lines += [f"- {name}: {tools[name].description.split('. ')[0].rstrip('.')}" for name in names]
    lines += [f"- {NONE}: just talk, or answer from general knowledge", "", "Examples:"]
    for example in reversed(demonstrations(route, [*names, NONE])):
        lines.append(f'"{example.text}" -> {{"tool": "{example.tool}"}}')
    lines.append(f'"{route.text}" ->')
    return "\n".join(lines)
