"""Does a caption find its photo, how fast are photos taken in, and how fast is a search among a million?

The photos are indexed by the real thing, from their files; every caption is then a question. Half of the photos chose
what could be chosen (views, weights, temperature); the figures are those of the other half and, as `all_*`, of all
together. Baselines: the plain convex combination of label embeddings, full text over the labels, chance. Control:
captions shuffled. Whether "nothing fits" is said rightly is asked with 40 questions, its line was set with 60 others.
"""

from __future__ import annotations

import asyncio
import csv
import shutil
import tempfile
import time
from collections import defaultdict
from pathlib import Path
from typing import Any

import numpy as np
from card import Card, arguments
from omni_image_search import tune
from omni_image_search.decoding import decode
from omni_image_search.features import BY_TEXT
from omni_image_search.large import LargeIndex
from omni_image_search.library import Library
from omni_image_search.matrix import Matrix
from omni_image_search.query import Query, full_text
from omni_image_search.records import Photo
from omni_image_search.search import Searcher
from omni_image_search.store import Store
from omni_vision import images, labels, objects
from omni_vision.detectors import Detectors

from omni.capabilities import Embedder
from omni.catalogue.store import ModelStore
from omni.config import load_config
from omni.host.host import Host

#: Everyday questions that no photo of the folder answers, and some that several do: those that set the line.
CHOSE_ABSENT = (
    "a kangaroo", "a helicopter in the sky", "a windmill", "a snake on a branch", "an owl at night", "a passport",
    "a bar chart", "an x-ray of a hand", "a tiger", "a polar bear", "a refrigerator", "a toothbrush",
    "a laptop on a desk", "a castle on a hill", "a receipt from a shop", "a cactus in the desert", "a wedding cake",
    "a violin", "a screenshot of a program", "a washing machine", "a satellite", "a rhinoceros", "a parrot in a cage",
    "a library full of books", "a sewing machine", "a vase of tulips", "a hamburger", "a map of a city", "a shark",
    "the pyramids",
)  # fmt: skip
CHOSE_PRESENT = (
    "a dog jumping over a hurdle", "a man fishing", "a horse", "a crowd of people", "a boat on a lake",
    "a tent in the mountains", "a waterfall", "a skier", "a person playing guitar", "a soccer game", "a brown dog",
    "a girl on the beach", "a boy with a ball", "a woman with sunglasses", "a child eating", "a baby", "a bird flying",
    "a cat", "people at a table", "a red car", "a train", "a tennis player", "an umbrella", "two men in a street",
    "a white dog in the snow", "a man climbing", "kids playing in a fountain", "a wakeboarder", "a group of hikers",
    "a man with a beard",
)  # fmt: skip
#: And those that judge it.
ABSENT = (
    "a chest x-ray", "a spreadsheet with sales figures", "the surface of the moon", "a giraffe eating leaves",
    "an airplane cockpit", "a microwave oven", "a plate of sushi", "a submarine", "a zebra", "a penguin colony",
    "a bathroom with a toilet", "a traffic light", "a piano keyboard", "a circuit board", "a page of a newspaper",
    "an elephant in the river", "a steam locomotive", "a lighthouse", "a microscope slide", "a bowl of strawberries",
)  # fmt: skip
PRESENT = (
    "a dog running on grass", "a black dog", "a child on a swing", "people climbing a rock", "a man on a bicycle",
    "a snowboarder", "a surfer on a wave", "a football player", "a dog in the water", "a girl in a pink dress",
    "a boy jumping into a pool", "a skateboarder", "two dogs playing", "a mountain with snow", "a motorcycle race",
    "a man with a hat", "children playing in the sand", "a person in a kayak", "a basketball game", "a dog with a ball",
)  # fmt: skip


def captions(folder: Path) -> dict[str, list[str]]:
    """File name -> its captions, of `captions.csv`."""
    found = defaultdict(list)
    with (folder / "captions.csv").open(encoding="utf-8", newline="") as stream:
        for row in csv.DictReader(stream):
            found[row["image"]].append(row["caption"].strip(" ."))
    return dict(found)


def recall(scores: np.ndarray, right: np.ndarray) -> dict[str, float]:
    """Of scores [questions, photos]: how often the right photo is among the first 1, 5, 10. A tie counts half."""
    own = scores[np.arange(len(right)), right][:, None]
    rank = (scores > own).sum(1) + ((scores == own).sum(1) - 1) / 2
    return {f"recall@{k}": float((rank < k).mean()) for k in (1, 5, 10)}


def standard(scores: np.ndarray) -> np.ndarray:
    """Each question's scores as standard deviations."""
    return (scores - scores.mean(1, keepdims=True)) / np.maximum(scores.std(1, keepdims=True), 1e-6)


class Gallery:
    """The indexed photos and their captions as arrays: rows are photos in the order of their names."""

    def __init__(self, store: Store, said: dict[str, list[str]]) -> None:
        files = sorted((Path(path).name, photo) for path, photo in store.rows("SELECT path, photo FROM files"))
        self.names = [name for name, _ in files if name in said]
        self.photos = np.array([photo for name, photo in files if name in said])
        self.texts = [text for name in self.names for text in said[name]]
        self.of = np.array([i for i, name in enumerate(self.names) for _ in said[name]])
        self.rows = {}
        for space in store.spaces():
            matrix = Matrix(store, space)
            matrix.refresh()
            self.rows[space] = matrix.rows[np.searchsorted(matrix.ids, self.photos)]
        self.asked: dict[str, np.ndarray] = {}

    async def ask(self, host: Host) -> None:
        """Embed every caption in every space that takes text."""
        for space in ("labels", "text"):
            self.asked[space] = await host.get(Embedder, space=space, images=True).embed_text(self.texts, query=True)

    def part(self, photos: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """(indices of the questions about these photos, the right photo of each as an index into `photos`)."""
        asked = np.flatnonzero(np.isin(self.of, photos))
        return asked, np.searchsorted(photos, self.of[asked])

    def scores(self, space: str, asked: np.ndarray, photos: np.ndarray) -> np.ndarray:
        """[questions, photos] dot products."""
        return self.asked[space][asked] @ self.rows[space][photos].T

    def shipped(self, asked: np.ndarray, photos: np.ndarray) -> np.ndarray:
        """What the search adds up, without full text."""
        return sum(weight * standard(self.scores(space, asked, photos)) for space, weight in BY_TEXT[-1].items())

    def fit(self, photos: np.ndarray, penalty: float) -> tune.Head:
        """The person's captions of these photos, learned."""
        targets = np.stack([self.asked["text"][self.of == i].mean(0) for i in photos])
        targets /= np.linalg.norm(targets, axis=1, keepdims=True)
        return tune.fit(self.rows["image-features"][photos], self.rows["text"][photos], targets, penalty)

    def tuned(self, head: tune.Head, asked: np.ndarray, photos: np.ndarray) -> np.ndarray:
        """The fitted scores beside the shipped ones."""
        near = head.predict(self.rows["image-features"][photos], self.rows["text"][photos])
        return standard(self.asked["text"][asked] @ near.T) + head.plain * standard(self.shipped(asked, photos))


def by_labels(store: Store, gallery: Gallery, asked: np.ndarray, photos: np.ndarray) -> np.ndarray:
    """BM25 of the words that were seen: what a search without embeddings would find."""
    at = {int(photo): i for i, photo in enumerate(gallery.photos[photos])}
    scores = np.zeros((len(asked), len(photos)))
    for row, question in zip(scores, asked, strict=True):
        if words := full_text(gallery.texts[question]):
            found = store.rows("SELECT rowid, -bm25(texts) FROM texts WHERE texts MATCH ?", (f"words : ({words})",))
            for photo, score in found:
                if photo in at:
                    row[at[photo]] = score
    return scores


async def plain_conse(host: Host, detectors: Detectors, files: list[Path]) -> np.ndarray:
    """[photos, 384] the method as published: the names of the 50 likeliest labels of the middle, weighed by their
    probabilities, and those of the objects seen, at half the weight.
    """
    embed = host.get(Embedder, space="text", model="minilm-l6").embed_text
    names = await embed([f"a photo of a {name}" for name in labels.names()])
    things = await embed([f"a photo of a {name}" for name in objects.names()])
    rows = []
    for file in files:
        picture = images.decode(decode(str(file)).preview)
        seen = await detectors.look(picture, closely=False, spread=False)
        best = np.argsort(-seen.labels)[:50]
        row = unit(seen.labels[best] @ names[best])
        presence = np.where(seen.presence >= 0.2, seen.presence, 0.0)
        rows.append(unit(row + 0.5 * unit(presence @ things)))
    return np.stack(rows)


def unit(vector: np.ndarray) -> np.ndarray:
    """Of length 1, or 0."""
    return vector / max(float(np.linalg.norm(vector)), 1e-12)


async def quality(
    card: Card, host: Host, store: Store, said: dict[str, list[str]], detectors: Detectors, data: Path, seed: int
) -> None:
    """Recall on the half that chose nothing, and the gain of tuning on held-out halves."""
    gallery = Gallery(store, said)
    await gallery.ask(host)
    conse = await plain_conse(host, detectors, [data / name for name in gallery.names])
    count = len(gallery.photos)
    order = np.random.default_rng(seed).permutation(count)
    chose, kept = np.sort(order[: count // 2]), np.sort(order[count // 2 :])
    everything = np.arange(count)
    asked, right = gallery.part(kept)
    shuffled = np.random.default_rng(seed + 1).permutation(right)
    methods = {
        "chance": {f"recall@{k}": k / len(kept) for k in (1, 5, 10)},
        "full text over labels": recall(by_labels(store, gallery, asked, kept), right),
        "plain ConSE": recall(gallery.asked["text"][asked] @ conse[kept].T, right),
        "one vector of meaning": recall(gallery.scores("text", asked, kept), right),
        "labels and colours": recall(gallery.scores("labels", asked, kept), right),
        "both, as shipped": recall(gallery.shipped(asked, kept), right),
        "as shipped, shuffled captions": recall(gallery.shipped(asked, kept), shuffled),
    }
    gains = []
    for fitted, judged in ((chose, kept), (kept, chose)):
        questions, answers = gallery.part(judged)
        gains.append(recall(gallery.tuned(gallery.fit(fitted, 1.0), questions, judged), answers))
    methods["tuned on the other half"] = gains[0]
    keys = ("recall@1", "recall@5", "recall@10")
    card.table(
        f"A caption finds its photo among {len(kept)}",
        ["method", *keys],
        [[n, *(m[k] for k in keys)] for n, m in methods.items()],
    )
    whole = recall(gallery.shipped(*(gallery.part(everything)[0], everything)), gallery.part(everything)[1])
    plain = recall(gallery.asked["text"] @ conse.T, gallery.of)
    card.table(
        f"Among all {count}",
        ["method", *keys],
        [["plain ConSE", *(plain[k] for k in keys)], ["as shipped", *(whole[k] for k in keys)]],
    )
    card.figures |= methods["both, as shipped"] | {f"all_{k}": v for k, v in whole.items()}
    card.figures |= {f"tuned_{k}": float(np.mean([gain[k] for gain in gains])) for k in keys}
    card.baseline |= methods["plain ConSE"] | {f"labels_{k}": v for k, v in methods["full text over labels"].items()}
    card.baseline |= {f"chance_{k}": v for k, v in methods["chance"].items()} | {
        f"all_{k}": v for k, v in plain.items()
    }
    card.control = methods["as shipped, shuffled captions"]
    card.figures |= {"gallery": len(kept), "photos": count}


async def through_the_index(card: Card, library: Library, said: dict[str, list[str]], seed: int, most: int) -> None:
    """The same questions through the whole search; captions are not in this index, so nothing is given away."""
    pairs = [(name, text) for name, texts in said.items() for text in texts]
    chosen = [pairs[i] for i in np.random.default_rng(seed).permutation(len(pairs))[:most]]
    ranks, seconds = [], []
    for name, text in chosen:
        began = time.perf_counter()
        found = await library.search(Query(text, limit=10, min_score=None))
        seconds.append(time.perf_counter() - began)
        names = [Path(hit.paths[0]).name for hit in found.hits]
        ranks.append(names.index(name) if name in names else 10)
    for k in (1, 5, 10):
        card.figures[f"search_recall@{k}"] = float((np.array(ranks) < k).mean())
    refused = {}
    for name, asked in (
        ("absent", ABSENT), ("present", PRESENT), ("chose_absent", CHOSE_ABSENT), ("chose_present", CHOSE_PRESENT)
    ):  # fmt: skip
        refused[name] = float(np.mean([not (await library.search(Query(text, limit=20))).hits for text in asked]))
    card.figures |= {
        "absent_refused": refused["absent"],
        "present_answered": 1 - refused["present"],
        "chose_absent_refused": refused["chose_absent"],
        "chose_present_answered": 1 - refused["chose_present"],
        "search_all_p95_ms": float(np.percentile(seconds, 95)) * 1e3,
    }
    print(f"\nThrough the whole search, {len(chosen)} captions: " + ", ".join(
        f"@{k} {card.figures[f'search_recall@{k}']:.3f}" for k in (1, 5, 10)
    ))  # fmt: skip
    print(f"'Nothing fits' for {card.figures['absent_refused']:.0%} of {len(ABSENT)} things that are in no photo; "
          f"an answer for {card.figures['present_answered']:.0%} of {len(PRESENT)} that are")  # fmt: skip


def made_up(count: int, dimension: int, seed: int) -> np.ndarray:
    """Unit vectors [count, dimension] around 2,000 centres, as float16."""
    chance = np.random.default_rng(seed)
    centres = chance.standard_normal((2000, dimension)).astype(np.float32)
    rows = np.empty((count, dimension), np.float16)
    for start in range(0, count, 50_000):
        size = min(50_000, count - start)
        block = centres[chance.integers(0, 2000, size)] + 0.8 * chance.standard_normal((size, dimension), np.float32)
        rows[start : start + size] = block / np.linalg.norm(block, axis=1, keepdims=True)
    return rows


async def at_ten_thousand(card: Card, host: Host, folder: Path, seed: int) -> None:
    """The whole search, both spaces, words and all, over 10,000 made-up photos."""
    store, count = Store(folder), 10_000
    spaces = {"labels": made_up(count, 1080, seed), "text": made_up(count, 384, seed)}
    words = ("dog", "beach", "person", "bicycle", "mountain", "kitchen", "boat", "horse")
    with store.transaction() as db:
        for i in range(count):
            seen = f"{words[i % 8]}, {words[i // 8 % 8]}"
            photo = Photo(f"{i:064x}", 1, 1, "JPEG", 1, i, None, None, "", seen, "", "", "", b"")
            store.link(
                db,
                f"/made/up/{i}.jpg",
                store.add_photo(db, photo, {s: rows[i] for s, rows in spaces.items()}),
                1,
                1,
                "/made",
                1,
            )
    searcher = Searcher(store, host)
    await searcher.search(Query("warm up"))
    seconds = []
    for i in range(60):
        began = time.perf_counter()
        await searcher.search(Query(f"a {words[i % 8]} number {i} near a {words[i // 8 % 8]}", min_score=None))
        seconds.append(time.perf_counter() - began)
    store.close()
    card.figures |= {
        "search_p50_ms": float(np.percentile(seconds, 50)) * 1e3,
        "search_p95_ms": float(np.percentile(seconds, 95)) * 1e3,
    }


def at_a_million(card: Card, folder: Path, seed: int, count: int) -> None:
    """One space of 384 dimensions through the index; exact search over the same rows is the yardstick."""
    rows = made_up(count, 384, seed)
    began = time.perf_counter()
    index = LargeIndex(folder, "text")
    index.build([(np.arange(1, count + 1), rows)], 384, count)
    built = time.perf_counter() - began
    chance = np.random.default_rng(seed + 5)
    near = rows[chance.integers(0, count, 60)].astype(np.float32)
    queries = near + 0.8 * chance.standard_normal(near.shape).astype(np.float32) / np.sqrt(384)
    queries /= np.linalg.norm(queries, axis=1, keepdims=True)
    seconds, found = [], []
    for query in queries:
        began = time.perf_counter()
        ids, _ = index.search(query, 100)
        seconds.append(time.perf_counter() - began)
        found.append(ids[:10])
    best = np.full((len(queries), count), -1, np.float32)
    for start in range(0, count, 50_000):
        best[:, start : start + 50_000] = queries @ rows[start : start + 50_000].astype(np.float32).T
    exact = [set(np.argpartition(-row, 10)[:10] + 1) for row in best]
    agreeing = float(np.mean([len(one & set(ids.tolist())) / 10 for one, ids in zip(exact, found, strict=True)]))
    card.figures |= {
        "million_vectors": count,
        "million_p50_ms": float(np.percentile(seconds, 50)) * 1e3,
        "million_p95_ms": float(np.percentile(seconds, 95)) * 1e3,
        "million_recall@10": agreeing,
        "million_build_s": built,
    }
    p50, p95 = card.figures["million_p50_ms"], card.figures["million_p95_ms"]
    print(f"\n{count:,} vectors of 384: p50 {p50:.1f} ms, p95 {p95:.1f} ms")
    print(f"{agreeing:.3f} of the exact ten are found; built in {built:.0f} s")


async def run(card: Card, args: Any, folder: Path) -> None:
    """All parts, with the real engines; nothing of an earlier run is used."""
    said = captions(args.data)
    names = sorted(said)[: 120 if args.quick else None]
    said = {name: said[name] for name in names}
    photos = folder / "photos"
    photos.mkdir()
    for name in names:  # names and captions must not be searchable: only what is seen counts
        (photos / name).symlink_to((args.data / name).resolve())
    card.data([args.data / name for name in [*names, "captions.csv"]], args.data)
    config = load_config()
    host = Host(config, ModelStore.from_config(config), folder / "data", only=["language", "vision"])
    await host.start()
    library = Library(folder / "index", host)
    try:
        await host.get(Embedder, space="text", images=True).open()  # loading is not indexing
        summary = await library.index(photos, remember=False)
        card.figures["images_per_s"] = summary.added / summary.seconds
        print(f"{summary.sentence()}")
        store = ModelStore.from_config(config)
        folders = [await store.path(model) for model in ("efficientnet-lite0", "everyday-vision")]
        detectors = Detectors(*folders, folder / "data" / "plain")
        try:
            await quality(card, host, library.store, said, detectors, args.data, args.seed)
        finally:
            detectors.close()
        await through_the_index(card, library, said, args.seed, 100 if args.quick else 500)
        await at_ten_thousand(card, host, folder / "ten", args.seed)
        p50, p95 = card.figures["search_p50_ms"], card.figures["search_p95_ms"]
        print(f"\n10,000 photos, the whole search: p50 {p50:.1f} ms, p95 {p95:.1f} ms")
    finally:
        library.close()
        await host.stop()
    at_a_million(card, folder / "million", args.seed, 100_000 if args.quick else 1_000_000)


def main() -> int:
    """Run and print the card."""
    args = arguments("photos", __doc__.splitlines()[0], data="photos/flickr8k_1k")
    card = Card("photos", args)
    if args.data is None:
        raise SystemExit("There is no folder of captioned photos: name one with --data (photos and a captions.csv).")
    folder = Path(tempfile.mkdtemp(prefix="bench-photos-"))
    try:
        asyncio.run(run(card, args, folder))
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    card.notes.append("The million vectors are made up: 2,000 centres, one space of 384 dimensions.")
    card.expect("recall@1", ">=", 0.13)
    card.expect("recall@10", ">=", 0.5)
    card.expect("tuned_recall@10", ">=", 0.6)
    card.expect("present_answered", ">=", 0.9)
    card.expect("images_per_s", ">=", 4)
    card.expect("search_p95_ms", "<=", 100)
    card.expect("million_p95_ms", "<=", 100)
    card.expect("million_recall@10", ">=", 0.95)
    return card.finish()


if __name__ == "__main__":
    raise SystemExit(main())
