"""A picture in words, region by region, so that a language model can answer from it and cite what it used."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from omni.capabilities import Region, Scene
from omni_vision.layout import rows
from omni_vision.objects import SURE
from omni_vision.perception import Percept

LONGEST_TEXT = 60  #: rows of text in a description; the rest is counted


@dataclass(frozen=True, slots=True)
class Cited:
    """A region under the name it has in a description: image 1's third region is "1.3"."""

    name: str
    image: int
    region: Region


def scene(percept: Percept) -> Scene:
    """The capability's view of what was found."""
    return Scene(
        width=percept.width,
        height=percept.height,
        regions=percept.regions,
        description=describe(percept),
        digest=percept.digest,
        seconds=percept.seconds,
    )


def describe(percept: Percept) -> str:
    """Two or three sentences for a person."""
    said = [f"An image of {percept.width} by {percept.height} pixels"]
    if percept.colours:
        said[0] += ", mostly " + " and ".join(name for name, _ in percept.colours[:2])
    things = Counter(one.text for one in percept.regions if one.kind == "object" and one.confidence >= SURE)
    if things:
        said.append("It shows " + listing([counted(name, number) for name, number in things.items()]))
    labels = [region.text for region in percept.regions if region.kind == "label" and region.confidence >= 0.3]
    if labels:
        said.append(f"As a whole it looks like: {labels[0]}")
    faces = sum(region.kind == "face" for region in percept.regions)
    if faces:
        said.append(f"{counted('face', faces).capitalize()} can be seen")
    text = [region for region in percept.regions if region.kind == "text"]
    if text:
        beginning = " / ".join("  ".join(one.text for one in row) for row in rows(text)[:4])
        said.append(f"{counted('line', len(text)).capitalize()} of text, beginning: {beginning}")
    if len(said) == 1:
        said.append("Nothing else in it could be made out")
    return ". ".join(said) + "."


def evidence(percepts: Sequence[Percept]) -> tuple[str, list[Cited]]:
    """All regions as numbered lines for the language model, rows of text as one region each."""
    lines, cited = [], []
    for image, percept in enumerate(percepts):
        lines.append(f"Image {image + 1} ({percept.width}x{percept.height} pixels):")
        regions = [(i, one) for i, one in enumerate(percept.regions) if one.kind in ("object", "face", "label")]
        for number, (index, region) in enumerate(regions, 1):
            name = f"{image + 1}.{number}"
            cited.append(Cited(name, image, region))
            lines.append(f"[{name}] {_line(region, percept, index)}")
        text_rows = rows([one for one in percept.regions if one.kind == "text"])
        for number, row in enumerate(text_rows[:LONGEST_TEXT], len(regions) + 1):
            name = f"{image + 1}.{number}"
            region = Region(
                "text", "  ".join(one.text for one in row), _around(row), min(one.confidence for one in row)
            )
            cited.append(Cited(name, image, region))
            lines.append(f'[{name}] text: "{region.text}"')
        if len(text_rows) > LONGEST_TEXT:
            lines.append(f"({len(text_rows) - LONGEST_TEXT} more rows of text are left out)")
        if percept.colours:
            lines.append("colours: " + ", ".join(f"{name} {share:.0%}" for name, share in percept.colours))
    return "\n".join(lines), cited


def place(region: Region, width: int, height: int) -> str:
    """Where a region is, as a person says it: "top left", "middle"."""
    x = (region.box[0] + region.box[2]) / 2 / max(width, 1)
    y = (region.box[1] + region.box[3]) / 2 / max(height, 1)
    across = "left" if x < 0.36 else "right" if x > 0.64 else ""
    down = "top" if y < 0.36 else "bottom" if y > 0.64 else ""
    return f"{down} {across}".strip() or "middle"


def counted(name: str, number: int) -> str:
    """ "a dog", "3 dogs"."""
    if number == 1:
        return f"{'an' if name[0] in 'aeiou' else 'a'} {name}"
    plural = {"person": "people", "knife": "knives", "mouse": "mice", "skis": "pairs of skis",
              "scissors": "pairs of scissors", "sheep": "sheep"}.get(name)  # fmt: skip
    if plural is None:
        plural = f"{name}es" if name.endswith(("s", "x", "ch", "sh")) else f"{name}s"
    return f"{number} {plural}"


def listing(parts: Sequence[str]) -> str:
    """ "a, b and c"."""
    return parts[0] if len(parts) == 1 else f"{', '.join(parts[:-1])} and {parts[-1]}"


def _line(region: Region, percept: Percept, index: int) -> str:
    if region.kind == "label":
        return f"whole image looks like: {region.text} ({region.confidence:.0%} sure)"
    colours = percept.box_colours.get(index, ())
    coloured = f", {'/'.join(name for name, _ in colours[:2])}" if colours else ""
    share = (region.box[2] - region.box[0]) * (region.box[3] - region.box[1]) / max(1, percept.width * percept.height)
    where = place(region, percept.width, percept.height)
    return f"{region.text} at the {where}{coloured}, {share:.0%} of the image ({region.confidence:.0%} sure)"


def _around(row: Sequence[Region]) -> tuple[float, float, float, float]:
    return (
        min(one.box[0] for one in row), min(one.box[1] for one in row),
        max(one.box[2] for one in row), max(one.box[3] for one in row),
    )  # fmt: skip
