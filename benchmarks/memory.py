"""Does the memory find what was told 200 turns ago, fast among 100,000 moments, lose nothing and really forget?

Sixty facts (`memory_facts.toml`) are told in passing, the last one followed by 200 more turns of chatter and
sentences that sound alike; then each is asked for in other words. Baselines: full text alone, meaning alone,
the latest moments. Control: every question is judged by another question's fact.

The hundred thousand moments repeat the same vocabulary on purpose: every word of a question is in thousands
of them, which is the slow case for full text. Their vectors are random, which makes no difference to an exact search.
"""

from __future__ import annotations

import asyncio
import importlib.util
import random
import shutil
import tempfile
import time
import tomllib
from pathlib import Path
from typing import Any

import numpy as np
from card import ROOT, Card, arguments
from omni_memory.memory import LanceMemory
from omni_memory.schema import Filter

from omni.capabilities import Embedder, Moment
from omni.catalogue.store import ModelStore
from omni.config import load_config
from omni.host.host import Host

FACTS = Path(__file__).with_name("memory_facts.toml")
AFTER = 200  #: turns between the last fact and the first question
SPOKEN = ("speech",)


def percentile(seconds: list[float], rank: float) -> float:
    """Milliseconds."""
    return float(np.percentile(seconds, rank)) * 1e3


def conversation(facts: list[list[str]], told: dict[str, Any], chance: random.Random) -> list[Moment]:
    """The facts among near misses and chatter, then `AFTER` turns without any; a reply follows every turn."""
    chatter = [f"{opening} {subject}." for opening in told["openings"] for subject in told["subjects"]]
    chance.shuffle(chatter)
    near = list(told["near"])
    chance.shuffle(near)
    early = [fact for fact, _ in facts] + chatter[: len(facts)] + near[: len(near) // 2]
    chance.shuffle(early)
    late = near[len(near) // 2 :] + chatter[len(facts) :]
    late = (late * (1 + AFTER // len(late)))[:AFTER]
    chance.shuffle(late)
    moments = []
    for turn, text in enumerate(early + late, 1):
        at = 1.7e9 + turn * 60.0
        session = f"talk-{turn // 40}"
        for role, words, offset in (("user", text, 0.0), ("assistant", chance.choice(told["replies"]), 10.0)):
            start = at + offset
            moments.append(Moment("speech", words, start, start + 4.0, session=session, turn=turn, data={"role": role}))
    return moments


def share(questions: list[list[str]], answers: list[list[str]], depth: int, shift: int = 0) -> float:
    """How many questions have their fact (or, shifted, another question's) among the first `depth` answers."""
    right = [questions[(i + shift) % len(questions)][0] in texts[:depth] for i, texts in enumerate(answers)]
    return sum(right) / max(1, len(right))


async def told_long_ago(card: Card, host: Host, folder: Path, told: dict[str, Any], seed: int) -> None:
    """recall@1 and recall@5 of every method, and of the control."""
    questions = told["facts"] + told["by_name"]
    memory = LanceMemory(folder, host=host)
    await memory.open()
    await memory.remember(conversation(told["facts"], told, random.Random(seed)))
    await memory.settled()
    embedder = host.get(Embedder, space="text")
    where = Filter(sources=SPOKEN)
    answers: dict[str, list[list[str]]] = {"fused": [], "full text": [], "meaning": [], "recency": []}
    for _, question in questions:
        vector = (await embedder.embed_text([question], query=True))[0]
        found = {
            "fused": await memory.recall(question, limit=5, sources=SPOKEN),
            "full text": memory._store.recall(question, None, "text", 5, where),
            "meaning": memory._store.recall("", vector, "text", 5, where),
            "recency": await memory.recall(limit=5, sources=SPOKEN),
        }
        for name, recalled in found.items():
            answers[name].append([r.moment.text for r in recalled])
    await memory.close()

    cut = len(told["facts"])
    parts = {"paraphrased": slice(0, cut), "by name": slice(cut, None), "odd (held out)": slice(1, None, 2)}
    rows = [
        [name, share(questions, found, 1), share(questions, found, 5)]
        + [share(questions[part], found[part], 5) for part in parts.values()]
        for name, found in answers.items()
    ]
    fused = answers["fused"]
    shuffled = share(questions, fused, 5, 7)
    rows.append(["shuffled pairs", share(questions, fused, 1, 7), shuffled, "", "", ""])
    columns = ["method", "recall@1", "recall@5", *(f"@5 {part}" for part in parts)]
    card.table(f"{len(questions)} questions, at least {AFTER} turns later", columns, rows)
    for (fact, question), texts in zip(questions, fused, strict=True):
        if fact not in texts:
            print(f"  missed: {question!r} for {fact!r}; found {texts[0] if texts else 'nothing'!r}")
    card.figures |= {"recall@1": share(questions, fused, 1), "recall@5": share(questions, fused, 5)}
    for part, where_ in parts.items():
        card.figures[f"recall@5_{part.split()[0]}"] = share(questions[where_], fused[where_], 5)
    for name in ("full text", "meaning", "recency"):
        card.baseline[f"recall@5_{name.replace(' ', '_')}"] = share(questions, answers[name], 5)
    card.control = {"recall@5": shuffled}


def many(told: dict[str, Any], count: int, chance: random.Random) -> list[str]:
    """`count` different texts in the facts' own vocabulary."""
    said = [fact for fact, _ in told["facts"]] + told["near"]
    return [
        f"{chance.choice(told['openings'])} {chance.choice(told['subjects'])}, entry {n}. {chance.choice(said)}"
        for n in range(count)
    ]


async def at_scale(card: Card, host: Host, folder: Path, told: dict[str, Any], count: int, seed: int) -> None:
    """Write rates, recall times with and without writing beside it, and a proven deletion among `count` moments."""
    memory = LanceMemory(folder)  # without a host: vectors are given
    await memory.open()
    acknowledged, settled, one_by_one = await written(memory, told, count, seed)
    times = await answered(memory, host, told, count)
    await memory.settled()
    stats = await memory.stats()
    forgot, before, after, seconds = await forgotten(memory, folder)
    await memory.close()

    times["remember one moment (synced)"] = one_by_one
    rows = [[what, percentile(took, 50), percentile(took, 95)] for what, took in times.items()]
    card.table(f"{stats.moments:,} moments, {stats.bytes / 1e6:.0f} MB", ["what", "p50 ms", "p95 ms"], rows)
    print(f"  acknowledged at {count / acknowledged:,.0f} moments a second, in the tables at {count / settled:,.0f}")
    print(f"  forgot {forgot} moments in {seconds:.1f} s; files with their bytes: {before} before, {after} after")
    plain, filtered, beside, embedded, _ = times.values()
    card.figures |= {
        "recall_p50_ms": percentile(plain, 50),
        "recall_p95_ms": percentile(plain, 95),
        "recall_filtered_p95_ms": percentile(filtered, 95),
        "recall_while_writing_p95_ms": percentile(beside, 95),
        "embed_question_p95_ms": percentile(embedded, 95),
        "remember_p95_ms": percentile(one_by_one, 95),
        "acknowledged_per_s": count / acknowledged,
        "settled_per_s": count / settled,
        "moments": stats.moments,
        "mb": stats.bytes / 1e6,
        "forget_s": seconds,
        "bytes_before_forget": before,
        "bytes_left": after,
    }


async def written(memory: LanceMemory, told: dict[str, Any], count: int, seed: int) -> tuple[float, float, list[float]]:
    """Fill it: seconds until all was acknowledged, until all was in the tables, and of each of 100 single moments."""
    rng, chance = np.random.default_rng(seed), random.Random(seed)
    texts = many(told, count, chance)
    sources = ("speech", "speech", "tool", "screen")

    def moment(n: int) -> Moment:
        vector = rng.standard_normal(384).astype(np.float32)
        at = 1.7e9 + 30.0 * n
        source = sources[n % 4]
        return Moment(source, texts[n], at, at + 3.0, session=f"s{n // 100}", turn=n, vectors={"text": vector})

    batch = 500
    began = time.perf_counter()
    for first in range(0, count, batch):
        await memory.remember([moment(n) for n in range(first, min(count, first + batch))])
    acknowledged = time.perf_counter() - began
    await memory.settled()
    settled = time.perf_counter() - began
    one_by_one = []
    for n in range(100):
        started = time.perf_counter()
        await memory.remember([Moment("tool", f"single {n}", 1.7e9, 1.7e9)])
        one_by_one.append(time.perf_counter() - started)
    return acknowledged, settled, one_by_one


async def answered(memory: LanceMemory, host: Host, told: dict[str, Any], count: int) -> dict[str, list[float]]:
    """Seconds of every question, by what was going on, and of embedding questions."""
    asked = told["facts"] + told["by_name"]
    questions = [question for _, question in asked] * 3
    embedder = host.get(Embedder, space="text")
    vectors = await embedder.embed_text(questions[: len(asked)], query=True)
    await memory.recall(questions[0], vector=vectors[0])  # reads the vectors in

    async def ask(index: int, **filters: Any) -> float:
        started = time.perf_counter()
        await memory.recall(questions[index], vector=vectors[index % len(vectors)], limit=5, **filters)
        return time.perf_counter() - started

    async def talk() -> None:
        n = 0
        while True:
            await memory.remember(
                [Moment("speech", f"meanwhile {n}", 1.8e9 + n, 1.8e9 + n, vectors={"text": vectors[0]})]
            )
            n += 1
            await asyncio.sleep(0.2)

    plain = [await ask(i) for i in range(len(questions))]
    filtered = [await ask(i, sources=["screen"], after=1.7e9 + 15.0 * count) for i in range(len(questions))]
    writer = asyncio.create_task(talk())
    beside = [await ask(i) for i in range(len(questions))]
    writer.cancel()
    embedded = []
    for number, question in enumerate(questions[:60]):
        started = time.perf_counter()
        await embedder.embed_text([f"{question} {number}"], query=True)  # never embedded before
        embedded.append(time.perf_counter() - started)
    return {
        "recall, nothing else going on": plain,
        "recall with filters on source and time": filtered,
        "recall while a conversation is written": beside,
        "embedding the question": embedded,
    }


async def forgotten(memory: LanceMemory, folder: Path) -> tuple[int, int, int, float]:
    """Tell a secret, forget it. (moments gone, files that held its bytes before, and after, seconds)."""
    needle, vector = b"quuxzanzibar", np.random.default_rng(3).standard_normal(384).astype(np.float32)
    vector /= np.linalg.norm(vector)
    ids = await memory.remember(
        [Moment("speech", f"the word is {needle.decode()}", 1.75e9, 1.75e9, vectors={"text": vector})]
    )
    await memory.settled()

    def files() -> int:
        data = (path.read_bytes() for path in folder.rglob("*") if path.is_file())
        return sum(needle in content or vector.tobytes() in content for content in data)

    before = files()
    began = time.perf_counter()
    gone = await memory.forget(ids)
    return gone, before, files(), time.perf_counter() - began


def crashes(card: Card, folder: Path, kills: int) -> None:
    """The crash test of the memory's own tests, counted."""
    path = ROOT / "memory" / "tests" / "test_memory_kill.py"
    spec = importlib.util.spec_from_file_location("memory_kill", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    try:
        acknowledged, gone = module.crash(folder, kills)
        lost = 0
    except AssertionError as error:
        print(f"  {error}")
        acknowledged, gone, lost = 0, 0, 1
    print(f"\n{kills} kills while writing: {acknowledged} moments acknowledged, {gone} forgotten, {lost} lost")
    card.figures |= {"lost": lost, "kills": kills, "acknowledged": acknowledged}


async def run(card: Card, args: Any, folder: Path) -> None:
    """All parts, with the real embedder."""
    told = tomllib.loads((args.data / FACTS.name if args.data else FACTS).read_text())
    config = load_config()
    host = Host(config, ModelStore.from_config(config), folder / "data", only=["language"])
    await host.start()
    try:
        await told_long_ago(card, host, folder / "facts", told, args.seed)
        await at_scale(card, host, folder / "scale", told, 20_000 if args.quick else 100_000, args.seed)
    finally:
        await host.stop()
    crashes(card, folder / "crash", 10 if args.quick else 50)


def main() -> int:
    """Run and print the card."""
    args = arguments("memory", __doc__.splitlines()[0])
    args.data = args.data if args.data and (args.data / FACTS.name).is_file() else None
    card = Card("memory", args)
    card.data([args.data / FACTS.name if args.data else FACTS])
    folder = Path(tempfile.mkdtemp(prefix="bench-memory-"))
    try:
        asyncio.run(run(card, args, folder))
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    card.expect("recall@5", ">=", 0.9)
    card.expect("recall_p95_ms", "<=", 50)
    card.expect("lost", "==", 0)
    card.expect("bytes_before_forget", ">=", 1)
    card.expect("bytes_left", "==", 0)
    return card.finish()


if __name__ == "__main__":
    raise SystemExit(main())
