"""Does it see what is there, and does it say no to what is not?

Questions as in POPE (Li et al., "Evaluating Object Hallucination in Large Vision-Language Models", 2023): for each
photo up to three things that are there, and as many that are not: at random, from the most frequent of the set
("popular"), and from those that most often stand beside what is there ("adversarial"). A "can't tell" counts as wrong.
"""

from __future__ import annotations

import asyncio
import random
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path
from typing import Any

from card import Card, arguments

#: COCO's category numbers (1..90 with gaps), in the order of its eighty names.
COCO = [
    *range(1, 12), *range(13, 26), 27, 28, *range(31, 45), *range(46, 66), 67, 70, *range(72, 83), *range(84, 91),
]  # fmt: skip
SETTINGS = ("random", "popular", "adversarial")


def truth(folder: Path, names: tuple[str, ...]) -> dict[Path, set[str]]:
    """Image -> the names of what is in it."""
    found = {}
    by_number = dict(zip(COCO, names, strict=True))
    for image in sorted((folder / "img").glob("*.jpg")):
        label = folder / "labels" / f"{image.stem}.txt"
        if label.is_file():
            found[image] = {by_number[int(line.split()[0])] for line in label.read_text().splitlines() if line.strip()}
    return {image: things for image, things in found.items() if things}


def questions(there: dict[Path, set[str]], names: tuple[str, ...], seed: int) -> list[tuple[Path, str, bool, str]]:
    """(image, thing, is it there, setting)."""
    dice = random.Random(seed)
    frequent = [name for name, _ in Counter(thing for things in there.values() for thing in things).most_common()]
    beside = Counter((a, b) for things in there.values() for a in things for b in things if a != b)
    asked = []
    for image, things in there.items():
        present = dice.sample(sorted(things), min(3, len(things)))
        absent = [name for name in names if name not in things]
        near = sorted(absent, key=lambda name: -sum(beside[name, thing] for thing in present))
        no = {
            "random": dice.sample(absent, len(present)),
            "popular": [name for name in frequent if name not in things][: len(present)],
            "adversarial": near[: len(present)],
        }
        for setting in SETTINGS:
            asked += [(image, thing, True, setting) for thing in present]
            asked += [(image, thing, False, setting) for thing in no[setting]]
    return asked


def verdict(answer: Any) -> bool | None:
    """Yes, no, or None for "can't tell"."""
    if not answer.supported:
        return None
    return answer.text.lower().startswith("yes")


async def ask(
    asked: list[tuple[Path, str, bool, str]], shown: dict[Path, Path]
) -> tuple[list[bool | None], float, float]:
    """(verdicts, seconds for the first look at an image, seconds for a question after it)."""
    from omni.capabilities import VisionModel
    from omni.catalogue.store import ModelStore
    from omni.config import load_config
    from omni.host.host import Host

    config = load_config()
    with tempfile.TemporaryDirectory() as folder:
        host = Host(config, ModelStore.from_config(config), Path(folder), only={"vision"})
        await host.start()
        try:
            vision = host.get(VisionModel, engine="composed")
            await vision.open()
            began = time.perf_counter()
            for image in sorted(set(shown.values())):
                await vision.look(image.read_bytes())
            looking = (time.perf_counter() - began) / len(set(shown.values()))
            began = time.perf_counter()
            found = []
            for image, thing, _, _ in asked:
                article = "an" if thing[0] in "aeiou" else "a"
                answer = await vision.answer([shown[image].read_bytes()], f"Is there {article} {thing} in the image?")
                found.append(verdict(answer))
            return found, looking, (time.perf_counter() - began) / len(asked)
        finally:
            await host.stop()


def score(asked: list[tuple[Path, str, bool, str]], said: list[bool | None]) -> dict[str, float]:
    """Accuracy, share of yes among what was decided, share of "can't tell", F1; over all and by setting."""
    right = [v is truth_ for (_, _, truth_, _), v in zip(asked, said, strict=True)]
    decided = [v for v in said if v is not None]
    hits = sum(v is True and t for (_, _, t, _), v in zip(asked, said, strict=True))
    wrong_yes = sum(v is True and not t for (_, _, t, _), v in zip(asked, said, strict=True))
    missed = sum(v is not True and t for (_, _, t, _), v in zip(asked, said, strict=True))
    figures = {
        "accuracy": sum(right) / len(right),
        "yes_ratio": sum(decided) / max(1, len(decided)),
        "cant_tell": 1 - len(decided) / len(said),
        "f1": 2 * hits / max(1, 2 * hits + wrong_yes + missed),
    }
    for setting in SETTINGS:
        part = [r for r, (_, _, _, s) in zip(right, asked, strict=True) if s == setting]
        figures[f"accuracy_{setting}"] = sum(part) / len(part)
    return figures


def prior(asked: list[tuple[Path, str, bool, str]], there: dict[Path, set[str]]) -> list[bool | None]:
    """Without looking: yes to what is in more than an eighth of the *other* photos."""
    count = Counter(thing for things in there.values() for thing in things)
    return [(count[thing] - (thing in there[image])) / (len(there) - 1) > 0.125 for image, thing, _, _ in asked]


def main() -> int:
    """Run it and print the claim card."""
    args = arguments("vision", "Does it see what is there, and does it say no to what is not?", data="photos/coco128")
    if args.data is None:
        print("The photos are not on this machine: set OMNI_TEST_DATA, or give --data DIR with img/ and labels/.")
        return 2
    from omni_vision.objects import names

    card = Card("vision", args)
    there = truth(args.data, names())
    if args.quick:
        there = dict(list(there.items())[:40])
    card.data(list(there), args.data)
    asked = questions(there, names(), args.seed)
    images = list(there)
    said, looking, asking = asyncio.run(ask(asked, {image: image for image in images}))
    shifted = dict(zip(images, images[1:] + images[:1], strict=True))
    shuffled, _, _ = asyncio.run(ask(asked, shifted))
    card.figures = score(asked, said) | {"look_s": looking, "question_s": asking, "questions": len(asked)}
    by_prior, always = score(asked, prior(asked, there)), score(asked, [True] * len(asked))
    card.baseline = max((by_prior, always), key=lambda one: one["accuracy"])
    card.control = score(asked, shuffled)
    columns = ["accuracy", *(f"accuracy_{one}" for one in SETTINGS), "f1", "yes_ratio", "cant_tell"]
    rows = [
        [name, *(one[column] for column in columns)]
        for name, one in (
            ("seen", card.figures), ("always yes", always), ("by frequency", by_prior),
            ("another photo shown", card.control),
        )
    ]  # fmt: skip
    card.table(f"{len(asked)} questions about {len(there)} photos", ["method", *columns], rows)
    misses = Counter(thing for (_, thing, t, _), v in zip(asked, said, strict=True) if t and v is not True)
    card.table("Most often missed", ["thing", "times (of three)"], misses.most_common(8))
    print(f"\n{looking:.2f} s for a first look (with text), {asking * 1000:.0f} ms for a question after it")
    card.expect("accuracy", ">=", 0.75)
    card.expect("cant_tell", "<=", 0.1)
    card.notes.append(
        "The detector was trained on COCO's training photos, of which these are some: expect less on other photos."
    )
    return card.finish()


if __name__ == "__main__":
    sys.exit(main())
