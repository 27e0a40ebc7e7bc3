"""Claim cards: every figure Omni claims, with its baseline, its control and what was expected.

A benchmark is a script of this shape; `make bench-NAME` runs it:

    from card import Card, arguments

    def main() -> int:
        args = arguments("planner", "Does the planner call the right tool?", data="planner")
        card = Card("planner", args)
        card.table("Right calls", ["method", "right"], [["planner", 0.93], ["keyword", 0.71]])
        card.figures = {"right_calls": 0.93}
        card.baseline = {"right_calls": 0.71}
        card.expect("right_calls", ">=", 0.9)
        return card.finish()

The last line printed is the card as one JSON object; it is also written to `benchmarks/results/NAME.json`.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import math
import operator
import os
import platform
import random
import time
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

RESULTS = Path(__file__).parent / "results"
ROOT = Path(__file__).resolve().parent.parent

_COMPARE = {">=": operator.ge, "<=": operator.le, ">": operator.gt, "<": operator.lt, "==": operator.eq}


def arguments(
    name: str, question: str, *, data: str | None = None, argv: Sequence[str] | None = None, **extra: dict[str, Any]
) -> argparse.Namespace:
    """`--data DIR`, `--quick`, `--seed N` and what `extra` adds (`--NAME`, with argparse's keywords).

    `data` is the default folder inside the shared test data; `args.data` is None where it does not exist.
    """
    parser = argparse.ArgumentParser(prog=f"make bench-{name}", description=question)
    parser.add_argument("--data", type=Path, default=test_data(data), help="another folder of the same shape")
    parser.add_argument("--quick", action="store_true", help="at most two minutes")
    parser.add_argument("--seed", type=int, default=0, help="of every random choice")
    for option, keywords in extra.items():
        parser.add_argument(f"--{option.replace('_', '-')}", **keywords)
    args = parser.parse_args(argv)
    random.seed(args.seed)
    return args


def test_data(folder: str | None = None) -> Path | None:
    """The shared test data (`$OMNI_TEST_DATA`, else beside the checkout), or a folder of it; None if absent."""
    root = Path(os.environ.get("OMNI_TEST_DATA") or ROOT.parent / "shared" / "data")
    path = root / folder if folder else root
    return path if path.is_dir() else None


def data_hash(files: Iterable[Path], root: Path | None = None) -> str:
    """sha256 of the list of files: one line each, `sha256 of the content, two spaces, path below root`."""
    lines = []
    for path in sorted(set(files)):
        with path.open("rb") as stream:
            digest = hashlib.file_digest(stream, "sha256").hexdigest()
        lines.append(f"{digest}  {path.relative_to(root) if root else path.name}")
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()


def hardware() -> str:
    """The machine in words: processor, cores, memory, accelerator."""
    model = platform.processor() or platform.machine()
    memory = ""
    cpuinfo, meminfo = Path("/proc/cpuinfo"), Path("/proc/meminfo")
    if cpuinfo.is_file():
        names = [line.split(":", 1)[1].strip() for line in cpuinfo.read_text().splitlines() if "model name" in line]
        model = names[0] if names else model
    if meminfo.is_file():
        kilobytes = int(meminfo.read_text().split("MemTotal:")[1].split()[0])
        memory = f", {kilobytes / 2**20:.0f} GiB"
    accelerator = "GPU" if Path("/dev/nvidia0").exists() else "no GPU"
    return f"{model}, {os.cpu_count()} cores{memory}, {accelerator}, {platform.system()}"


class Card:
    """One claim: `figures`, the strongest dumb `baseline`, the `control` with the idea switched off, `expected`."""

    def __init__(self, bench: str, args: argparse.Namespace) -> None:
        self.bench = bench
        self.args = args
        self.figures: dict[str, Any] = {}
        self.baseline: dict[str, Any] = {}
        self.control: dict[str, Any] = {}
        self.expected: dict[str, str] = {}
        self.notes: list[str] = []
        self._data = ""
        self._began = time.perf_counter()

    def data(self, files: Iterable[Path], root: Path | None = None) -> None:
        """Say which files were used."""
        self._data = data_hash(files, root)

    def expect(self, figure: str, relation: str, bound: float) -> None:
        """A figure is expected to be `>=`, `<=`, `>`, `<` or `==` a bound; the card passes when all are."""
        if relation not in _COMPARE:
            raise ValueError(f"{relation!r} is no relation; use one of {', '.join(_COMPARE)}")
        self.expected[figure] = f"{relation} {bound:g}"

    def table(self, title: str, columns: Sequence[str], rows: Iterable[Sequence[Any]]) -> None:
        """Print a readable table; floats with three digits."""
        cells = [[_cell(value) for value in row] for row in rows]
        widths = [max(map(len, [str(column), *(row[i] for row in cells)])) for i, column in enumerate(columns)]
        print(f"\n{title}")
        print("  ".join(str(column).ljust(width) for column, width in zip(columns, widths, strict=True)))
        print("  ".join("-" * width for width in widths))
        for row in cells:
            print("  ".join(value.ljust(width) for value, width in zip(row, widths, strict=True)))

    def failures(self) -> list[str]:
        """Which expectations are not met, in words."""
        found = []
        for figure, expectation in self.expected.items():
            relation, bound = expectation.split()
            value = self.figures.get(figure)
            if not isinstance(value, int | float) or not _COMPARE[relation](value, float(bound)):
                found.append(f"{figure} is {_cell(value)}, expected {expectation}")
        return found

    def as_dict(self) -> dict[str, Any]:
        """The card as it is printed and written."""
        failures = self.failures()
        card = {
            "bench": self.bench,
            "figures": self.figures,
            "baseline": self.baseline,
            "control": self.control,
            "expected": self.expected,
            "pass": not failures,
            "seed": self.args.seed,
            "data": self._data,
            "hardware": hardware(),
            "seconds": round(time.perf_counter() - self._began, 2),
        }
        if self.args.quick:
            card["quick"] = True
        return card | ({"notes": self.notes} if self.notes else {})

    def finish(self) -> int:
        """Write and print the card. Returns the exit status: 0 when every expectation is met, else 1.

        A `--quick` run is printed but does not replace the full run's results file.
        """
        card = _plain(self.as_dict())
        for failure in self.failures():
            print(f"not met: {failure}")
        if not self.args.quick or not (RESULTS / f"{self.bench}.json").exists():
            RESULTS.mkdir(exist_ok=True)
            (RESULTS / f"{self.bench}.json").write_text(json.dumps(card, indent=1, ensure_ascii=False) + "\n")
        print(json.dumps(card, ensure_ascii=False), flush=True)
        return 0 if card["pass"] else 1


def _cell(value: Any) -> str:
    return f"{value:.3f}" if isinstance(value, float) else str(value)


def _plain(value: Any) -> Any:
    """JSON has no NaN and knows no numpy scalars; figures keep five significant digits."""
    if isinstance(value, dict):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    if hasattr(value, "item"):
        value = value.item()
    if isinstance(value, float):
        return float(f"{value:.5g}") if math.isfinite(value) else None
    return value
