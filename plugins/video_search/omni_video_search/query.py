"""What a question about a moment leans on: "she says" on speech, "loud bang" on sound, "a map is shown" on pictures.

A question is taken apart where two things happen at the same time ("... while a map is shown"); each part has weights
for the four streams. Rules on the words; a part without a cue leans on everything but the sound.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

STREAMS = ("speech", "picture", "screen", "sound")
#: (speech, picture, screen, sound) for each cue.
_SPEECH, _PICTURE, _SCREEN = (1.0, 0.1, 0.2, 0.0), (0.15, 1.0, 0.35, 0.0), (0.15, 0.2, 1.0, 0.0)
_SOUND, _SOUND_OF = (0.1, 0.1, 0.1, 1.0), (0.1, 0.4, 0.1, 0.9)
_ANY = (0.8, 0.7, 0.8, 0.0)

_LEAD = re.compile(
    r"^\W*(?:(?:please|can you|could you|i want|i need|take me to|jump to|go to|skip to|find|search for|show me|"
    r"play|where is|"
    r"where'?s|when is|when do(?:es)?|at what point do(?:es)?)\s+)*(?:(?:the|a|that)\s+)?"
    r"(?:(?:part|moment|bit|scene|place|point|time|second|spot|section|passage)s?\s+)?(?:(?:in|of) the (?:video|"
    r"film|clip)\s+)?"
    r"(?:(?:where|when|in which|at which|with|of|that)\s+)?",
    re.I,
)
_TOGETHER = re.compile(
    r"\s*,?\s+(?:while|whilst|during|at the same time as|and at the same time|at the moment(?: that)?)\s+", re.I
)
_PERHAPS = re.compile(r"\s*,?\s+(?:as|when|with|and|over|to|before|after)\s+", re.I)

_SAYS = re.compile(
    r"\b(?:(?:he|she|they|it|i|we|you|someone|somebody|the (?:man|woman|speaker|narrator|presenter|voice|"
    r"teacher|host))\s+)?"
    r"(?:is |are |was |were )?(?:sa(?:y|ys|id|ying)|talk(?:s|ed|ing)?(?: (?:about|of))?|sp(?:eak|eaks|oke|"
    r"eaking) (?:about|of)|mention\w*|"
    r"explain\w*|tell(?:s|ing)?(?: (?:us|me|them))?|told|ask(?:s|ed|ing)?(?: (?:about|for|if|whether))?|"
    r"describ\w+|discuss\w*|announc\w+|"
    r"thank(?:s|ed)?|(?:is|are|was|were|gets?|being)\s+(?:mentioned|explained|discussed|said))\b(?:\s+(?:that|"
    r"how|why|what))?",
    re.I,
)
_WRITTEN = re.compile(
    r"\b(?:on the screen|on screen|on-screen|the (?:slide|screen|title|caption|text|sign|subtitle|headline|"
    r"credits?)s?(?: that)?(?: (?:say|read|show)s?)?|"
    r"(?:slide|text|title|caption|sign|headline|word|words|letters|writing)(?: (?:say|read)(?:s|ing)?)?|(?:is|"
    r"are|was) written|reads|written|spelled)\b",
    re.I,
)
_SHOWN = re.compile(
    r"\b(?:(?:is|are|was|were|being|gets?) (?:shown|seen|visible|on screen|displayed)|(?:we|you|"
    r"one) (?:can )?see|see|shows?|shown|showing|appears?|visible|"
    r"in (?:the )?(?:picture|view|frame)|(?:a |the )?(?:close-?up|shot|picture|image|photo|view|scene)s? of|"
    r"look(?:s|ing)? like|stand(?:s|ing)?|wear(?:s|ing)?)\b",
    re.I,
)

#: Words for sounds, by the label they ask for.
SOUND_WORDS: dict[str, str] = {
    "impact": r"explosions?|explod\w+|bangs?|crash\w*|slam\w*|gunshots?|gunfire|booms?|thuds?|blasts?|bursts?|"
    r"smash\w*|knock\w*|bumps?",
    "music": r"music|songs?|melod\w+|tunes?|guitar|piano|orchestra|chords?|soundtrack|jingle",
    "laughter-like": r"laugh\w*|giggl\w*|chuckl\w*",
    "applause-like": r"applau\w*|clapping|cheer\w*|hiss\w*|static|white noise|rain|wind noise|waterfall",
    "silence": r"silen\w+|quiet(?:ly)?|nobody (?:speaks|talks)|no (?:sound|one speaks)|hush\w*",
    "tone": r"beep\w*|tones?|whistl\w*|buzz\w*|dial tone|siren|alarm",
    "loud": r"loud\w*|noisy|shout\w*|scream\w*|yell\w*",
    "speech": r"(?:someone|somebody|anyone|people|a (?:man|woman|voice|person)) (?:speaks?|talks?|"
    r"is (?:speaking|talking))|speech|talking|speaking|voices?",
}
_SOUND_RE = {label: re.compile(rf"\b(?:{words})\b", re.I) for label, words in SOUND_WORDS.items()}
_HEARD = re.compile(
    r"\b(?:(?:is|are|can be|we|you) (?:hear|heard)|hear|heard|sounds?|noise|plays?|playing|in the background|"
    r"starts?|begins?)\b",
    re.I,
)

STOP = frozenset(
    """
    a about all an and any are as at be been being but by can did do does for from get gets had has have he her
    here him his how i if in into is it its just me my no not of on one or our out part she so some someone
    somebody something than that the their them then there these they this those to up us very video was we were
    what when where which while who why will with would you your moment scene
    """.split()  # noqa: SIM905 - a list of words is easier to read than a list of strings
)


@dataclass(frozen=True, slots=True)
class Part:
    """One thing that is to be so at the moment: words, the sounds asked for, and a weight 0..1 for each stream."""

    text: str
    weights: dict[str, float]
    sounds: tuple[str, ...] = ()
    quoted: tuple[str, ...] = ()

    @property
    def terms(self) -> tuple[str, ...]:
        """Its words that carry meaning, stemmed."""
        return tuple(dict.fromkeys(terms(self.text)))


def parse(query: str) -> list[Part]:
    """The parts of a question that hold at the same time; at least one."""
    text = _LEAD.sub("", query.strip(), count=1).strip(" ?.!") or query.strip()
    parts = [_part(piece) for chunk in _TOGETHER.split(text) for piece in _perhaps_split(chunk) if piece.strip()]
    useful = [part for part in parts if part.terms or part.sounds]
    return useful or [_part(text)]


def _perhaps_split(text: str) -> list[str]:
    """At a weak connective only where a cue of one stream stands left of it and of another right of it."""
    for at in _PERHAPS.finditer(text):
        left, right = text[: at.start()], text[at.end() :]
        kinds = _kind(left), _kind(right)
        if all(kinds) and kinds[0] != kinds[1]:
            return [left, *_perhaps_split(right)]
    return [text]


def _kind(text: str) -> str:
    if any(pattern.search(text) for pattern in _SOUND_RE.values()):
        return "sound"
    if _WRITTEN.search(text):
        return "screen"
    if _SAYS.search(text):
        return "speech"
    return "picture" if _SHOWN.search(text) else ""


def _part(text: str) -> Part:
    quoted = tuple(re.findall(r'["“”]([^"“”]{2,})["“”]', text))
    sounds = tuple(label for label, pattern in _SOUND_RE.items() if pattern.search(text))
    bare = text
    for pattern in (_WRITTEN, _SAYS, _SHOWN, _HEARD):
        bare = pattern.sub(" ", bare)
    says, written, shown = _SAYS.search(text), _WRITTEN.search(text), _SHOWN.search(text)
    topic = bare
    for label in sounds:
        topic = _SOUND_RE[label].sub(" ", topic)
    if written and not (says and says.start() < written.start()):
        weights = _SCREEN
    elif says:
        weights, sounds = (_SPEECH, ()) if terms(bare) else (_SPEECH, sounds)
    elif sounds and not shown:
        weights = _SOUND_OF if terms(topic) else _SOUND
    elif shown:
        weights = _PICTURE
    else:
        weights = _ANY
    if quoted:
        bare = " ".join(quoted)
    content = " ".join(bare.split()).strip(" ,.?!") if terms(bare) else text.strip()
    return Part(content, dict(zip(STREAMS, weights, strict=True)), sounds, quoted)


def terms(text: str) -> list[str]:
    """Stemmed words without the little ones."""
    return [stem(word) for word in re.findall(r"[^\W_]+(?:[’'][a-z]+)?", text.lower()) if word not in STOP]


def stem(word: str) -> str:
    """A light stem: plural, -ing, -ed. Enough to let "recordings" meet "recording"."""
    word = re.sub(r"[’'](?:s|re|ve|ll|d|m|t)$", "", word)
    if len(word) > 4 and word.endswith("ies"):
        return word[:-3] + "y"
    for ending in ("ings", "ing", "edly", "ed", "es", "s"):
        if word.endswith(ending) and len(word) - len(ending) >= 3 and not word.endswith("ss"):
            word = word[: -len(ending)]
            break
    return word[:-1] if len(word) > 4 and word.endswith("e") else word
