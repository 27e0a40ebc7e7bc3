"""What a plugin costs on this machine: to load, to open, in memory, and a call; beside those it could replace.

Each offer is measured in a process of its own, so that what it holds is its own and a crash ends nothing else.
"""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import numpy as np

from omni.errors import OmniError
from omni.host.devloop import the_one_in
from omni.host.discovery import Found, discover, find_one
from omni.host.registry import Registry

WARM = 2  #: calls that are not counted
PATIENCE_S = 300.0  #: for one plugin


def compare(
    target: str, data_dir: Path, *, calls: int = 200, seconds: float = 5.0, say: Callable[[str], None] = lambda _: None
) -> list[dict[str, Any]]:
    """Rows for the plugin `target` (an id or a folder) and for each other plugin that offers the same.

    Raises `OmniError` when there is no such plugin.
    """
    everything = discover((), Registry.read(data_dir).environments())
    if Path(target).expanduser().is_dir():
        mine = the_one_in(Path(target))
    else:
        mine = find_one(target, everything)
    if mine.manifest is None or mine.folder is None:
        raise OmniError(f"{mine.id} can't be measured. {mine.refusal}", "`omni plugin check` says more.")
    offered = mine.manifest.offered()
    others = [
        one for one in everything
        if one.id != mine.id and one.manifest and not one.refusal and offered & one.manifest.offered()
    ]  # fmt: skip
    rows = []
    for found in (mine, *others):
        say(f"measuring {found.id}")
        rows += measured_apart(found, offered, calls, seconds)
    return rows


def measured_apart(found: Found, offered: Iterable[str], calls: int, seconds: float) -> list[dict[str, Any]]:
    """One plugin's rows, from a process of its own. What goes wrong there is a row with a note."""
    if found.python is not None:
        return [{"plugin": found.id, "note": "it runs in an environment of its own; bench it there"}]
    command = [sys.executable, "-m", "omni.host.benching", str(found.folder), ",".join(sorted(offered))]
    try:
        done = subprocess.run(
            [*command, str(calls), str(seconds)], capture_output=True, text=True, timeout=PATIENCE_S, check=False
        )
    except subprocess.TimeoutExpired:
        return [{"plugin": found.id, "note": f"it was not through after {PATIENCE_S:g} s"}]
    rows = [json.loads(line) for line in done.stdout.splitlines() if line.startswith("{")]
    if done.returncode:
        said = done.stderr.strip().splitlines()[-1:] or [f"its process ended with {done.returncode}"]
        rows.append({"plugin": found.id, "note": said[0]})
    return rows


async def measure(folder: Path, offered: set[str], calls: int, seconds: float) -> None:
    """Print a JSON line for each method of each of the plugin's offers; without one, for the plugin itself."""
    from omni.catalogue.store import ModelStore
    from omni.config import load_config
    from omni.host.contract.subject import Subject
    from omni.host.loader import rss_mb

    config = load_config()
    subject = Subject(folder, store=ModelStore.from_config(config))
    async with subject.loaded() as loaded:
        start = {"plugin": subject.id, "load_s": round(loaded.load_s, 4)}
        chosen = [offer for offer in loaded.offers if offer.capability.__name__ in offered]
        for offer in chosen:
            row = start | {"offer": offer.id, "capability": offer.capability.__name__}
            missing = [model for model in offer.models if subject.store.state(model) != "installed"]
            if missing:
                _print(row | {"note": f"the models {', '.join(missing)} are not here"})
                continue
            before, began = rss_mb(), time.perf_counter()
            instance = offer.factory()
            try:
                await instance.open()
                row["open_s"] = round(time.perf_counter() - began, 4)
                for line in await _methods(offer, instance, calls, seconds):
                    _print(row | {"ram_mb": round(max(0.0, rss_mb() - before + loaded.ram_mb), 1)} | line)
            except OmniError as error:
                _print(row | {"note": str(error)})
            finally:
                await instance.close()
        if not chosen:
            _print(start | {"ram_mb": round(loaded.ram_mb, 1), "note": "it offers no capability to call"})


async def _methods(offer: Any, instance: Any, calls: int, seconds: float) -> list[dict[str, Any]]:
    """Latency of each method on the contract kit's request; of a stream, to its end."""
    from omni.host.contract.samples import samples
    from omni.host.contract.subject import call
    from omni.host.proxies import methods

    lines = []
    for sample in samples(offer.capability):
        for _ in range(WARM):
            await call(offer, instance, sample)
        times: list[float] = []
        began = time.perf_counter()
        while len(times) < calls and time.perf_counter() - began < seconds:
            started = time.perf_counter()
            await call(offer, instance, sample)
            times.append(1000 * (time.perf_counter() - started))
        p50, p95 = np.percentile(times, (50, 95))
        note = "" if methods(offer.capability)[sample.method] != "stream" else "to the end of the stream"
        lines.append(
            {"method": sample.method, "p50_ms": round(float(p50), 4), "p95_ms": round(float(p95), 4),
             "calls": len(times), "note": note}
        )  # fmt: skip
    return lines


def _print(row: dict[str, Any]) -> None:
    sys.stdout.write(json.dumps(row) + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    asyncio.run(measure(Path(sys.argv[1]), set(sys.argv[2].split(",")), int(sys.argv[3]), float(sys.argv[4])))
