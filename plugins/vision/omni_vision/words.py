"""From a person's word for a thing to what the detectors can say about it."""

from __future__ import annotations

import re
from functools import cache

from omni_vision import labels, objects

#: Other words for the eighty classes, and words for several of them.
SYNONYMS: dict[str, tuple[str, ...]] = {
    "people": ("person",), "man": ("person",), "woman": ("person",), "boy": ("person",), "girl": ("person",),
    "child": ("person",), "kid": ("person",), "human": ("person",), "someone": ("person",), "anyone": ("person",),
    "men": ("person",), "women": ("person",), "children": ("person",), "anybody": ("person",), "somebody": ("person",),
    "bike": ("bicycle", "motorcycle"), "motorbike": ("motorcycle",), "plane": ("airplane",), "aeroplane": ("airplane",),
    "jet": ("airplane",), "ship": ("boat",), "vehicle": ("car", "bus", "truck", "motorcycle", "train"),
    "hydrant": ("fire hydrant",), "kitten": ("cat",), "puppy": ("dog",), "pony": ("horse",), "cattle": ("cow",),
    "bag": ("backpack", "handbag", "suitcase"), "purse": ("handbag",), "luggage": ("suitcase",),
    "rucksack": ("backpack",),
    "ball": ("sports ball",), "racket": ("tennis racket",), "racquet": ("tennis racket",), "bat": ("baseball bat",),
    "ski": ("skis",), "glass": ("wine glass", "cup"), "mug": ("cup",), "doughnut": ("donut",), "sofa": ("couch",),
    "plant": ("potted plant",), "table": ("dining table",), "desk": ("dining table",), "television": ("tv",),
    "monitor": ("tv",), "screen": ("tv", "laptop"), "computer": ("laptop", "tv"), "notebook": ("laptop",),
    "phone": ("cell phone",),
    "mobile phone": ("cell phone",), "smartphone": ("cell phone",), "cellphone": ("cell phone",),
    "fridge": ("refrigerator",),
    "teddy": ("teddy bear",), "hair dryer": ("hair drier",), "hairdryer": ("hair drier",), "stove": ("oven",),
    "animal": ("bird", "cat", "dog", "horse", "sheep", "cow", "elephant", "bear", "zebra", "giraffe"),
    "fruit": ("banana", "apple", "orange"), "food": (
        "banana", "apple", "sandwich", "orange", "broccoli", "carrot", "hot dog", "pizza", "donut", "cake"),
    "traffic signal": ("traffic light",), "stoplight": ("traffic light",), "lorry": ("truck",),
}  # fmt: skip

#: Kinds that ImageNet divides finely: first and last index, both included.
GROUPS: dict[str, tuple[tuple[int, int], ...]] = {
    "dog": ((151, 268),), "cat": ((281, 285),), "bird": ((7, 24), (80, 100), (127, 146)), "fish": ((0, 6), (389, 397)),
    "snake": ((52, 68),), "lizard": ((38, 48),), "frog": ((30, 32),), "turtle": ((33, 37),), "spider": ((72, 77),),
    "insect": ((300, 326),), "butterfly": ((321, 326),), "monkey": ((369, 384),), "bear": ((294, 297),), "shark": ((2,
    4),),
    "wolf": ((269, 272),), "fox": ((277, 280),), "rabbit": ((330, 332),), "crab": ((118, 121),), "whale": ((147, 148),),
    "mushroom": ((991, 997),),
}  # fmt: skip


def singular(word: str) -> str:
    """A noun without its plural ending, well enough for names of things."""
    special = {
        "knives": "knife", "buses": "bus", "glasses": "glass", "couches": "couch", "benches": "bench", "mice": "mouse",
        "scissors": "scissors", "skis": "skis", "wolves": "wolf", "foxes": "fox", "sandwiches": "sandwich",
        "tomatoes": "tomato", "potatoes": "potato", "toothbrushes": "toothbrush",
    }  # fmt: skip
    head, _, last = word.rpartition(" ")
    if last in special:
        last = special[last]
    elif last.endswith("ies") and len(last) > 4:
        last = last[:-3] + "y"
    elif last.endswith("s") and not last.endswith(("ss", "us", "is")):
        last = last[:-1]
    return f"{head} {last}".strip()


def clean(phrase: str) -> str:
    """Lower case, letters and spaces only, no article, singular."""
    phrase = re.sub(r"[^a-z ]+", " ", phrase.lower())
    phrase = re.sub(r"^(?:a|an|any|some|the|one|more than one|pair of|piece of)\s+", "", phrase.strip())
    return singular(" ".join(phrase.split()))


def classes(phrase: str) -> tuple[str, ...]:
    """The detector's classes a phrase means; () when it means none."""
    word = clean(phrase)
    if word in objects.names():
        return (word,)
    return SYNONYMS.get(word, SYNONYMS.get(phrase.strip().lower(), ()))


@cache
def label_indices(phrase: str) -> tuple[int, ...]:
    """The ImageNet labels a phrase means: a group, or every label that is or ends with the word."""
    word = clean(phrase)
    if word in GROUPS:
        return tuple(i for first, last in GROUPS[word] for i in range(first, last + 1))
    plain = [name.lower().replace("-", " ") for name in labels.names()]
    return tuple(i for i, name in enumerate(plain) if name == word or name.endswith(f" {word}"))


_SAID_OF_IT = re.compile(
    r"\s(?:with|that|which|who|whose|wearing|holding|carrying|sitting|standing|lying|riding|eating|next|near|behind|under|of)\b.*",
    re.IGNORECASE,
)


def head_noun(phrase: str) -> tuple[str, str]:
    """(the known thing a phrase is about, what is said of it): "a red fire hydrant" -> ("fire hydrant", "red").

    ("", the phrase) when no detector knows it.
    """
    rest = match[0].strip() if (match := _SAID_OF_IT.search(phrase)) else ""
    words = clean(phrase[: len(phrase) - len(rest)] if rest else phrase).split()
    for start in range(len(words)):
        tail = " ".join(words[start:])
        if classes(tail) or label_indices(tail):
            kinds = classes(tail)
            name = kinds[0] if len(kinds) == 1 and tail in ("people", "men", "women", "children") else tail
            return name, " ".join([*words[:start], rest]).strip()
    return "", phrase
