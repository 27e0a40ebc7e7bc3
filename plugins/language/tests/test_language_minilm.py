"""Text embeddings and re-ranking: the bookkeeping with a fake network, the numbers with the real one."""

from __future__ import annotations

import asyncio

import numpy as np
import pytest
from omni_language.minilm import LateReranker, MiniLM, TextEmbedder, late_interaction

from omni.capabilities import Embedder, Reranker
from omni.catalogue.store import ModelStore
from omni.config import load_config
from omni.errors import CapabilityUnavailable, ModelError


class FakeMiniLM:
    def __init__(self):
        self.asked: list[list[str]] = []
        self.users = 0

    async def open(self):
        self.users += 1

    async def close(self):
        self.users -= 1

    async def sentences(self, texts):
        self.asked.append(list(texts))
        vectors = np.zeros((len(texts), 384), np.float32)
        vectors[np.arange(len(texts)), [sum(map(ord, text)) % 384 for text in texts]] = 1
        return vectors


async def test_a_text_is_embedded_once_and_the_order_is_kept():
    model = FakeMiniLM()
    embedder = TextEmbedder(model, remember=2)
    assert isinstance(embedder, Embedder) and (embedder.space, embedder.dimension) == ("text", 384)
    await embedder.open()
    vectors = await embedder.embed_text(["b", "a", "b"])
    assert model.asked == [["b", "a"]]
    assert (vectors[0] == vectors[2]).all() and vectors[0, ord("b")] == 1 and vectors[1, ord("a")] == 1
    await embedder.embed_text(["b"])
    assert len(model.asked) == 2 and model.asked[1] == []  # it was still known
    await embedder.embed_text(["c", "d"])
    await embedder.embed_text(["b"])
    assert model.asked[-1] == ["b"]  # the least recently used are forgotten
    assert (await embedder.embed_text([])).shape == (0, 384)
    await embedder.close()
    await embedder.close()
    assert model.users == 0


async def test_the_text_space_has_no_images():
    with pytest.raises(CapabilityUnavailable, match="no images"):
        await TextEmbedder(FakeMiniLM()).embed_images([b""])


async def test_broken_weights_are_a_sentence_and_leave_no_graph(tmp_path):
    (tmp_path / "config.json").write_text("{}")

    async def find():
        return tmp_path

    model = MiniLM(find, tmp_path / "cache")
    with pytest.raises(ModelError, match="could not be loaded"):
        await model.open()
    assert not list(tmp_path.glob("cache/*"))
    with pytest.raises(ModelError, match="closed"):
        await model.sentences(["x"])


def test_late_interaction_is_the_mean_of_the_best_matches():
    query = np.eye(3, 4, dtype=np.float32)[:2]
    assert late_interaction(query, query) == 1
    assert late_interaction(query, query[:1]) == 0.5
    assert late_interaction(query, query[:0]) == 0


async def real_model(tmp_path) -> MiniLM:
    store = ModelStore.from_config(load_config())
    return MiniLM(lambda: store.path("minilm-l6"), tmp_path)


@pytest.mark.real
async def test_the_graph_computes_what_the_original_does(tmp_path):
    torch = pytest.importorskip("torch", reason="the original is run with torch, which is not installed")
    transformers = pytest.importorskip("transformers", reason="the original is run with transformers")
    model = await real_model(tmp_path)
    await model.open()
    folder = await ModelStore.from_config(load_config()).path("minilm-l6")
    texts = ["How do I get to the station?", "x", "", "Grüße aus 漢字 🙂", "The keeper counted the stairs. " * 80]
    ours = await model.sentences(texts)
    tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
    original = transformers.AutoModel.from_pretrained(folder).eval()
    batch = tokenizer(texts, padding=True, truncation=True, max_length=256, return_tensors="pt")
    with torch.no_grad():
        hidden = original(**batch).last_hidden_state
    mask = batch["attention_mask"][..., None].float()
    theirs = torch.nn.functional.normalize((hidden * mask).sum(1) / mask.sum(1), dim=1).numpy()
    assert ((ours * theirs).sum(1) > 0.999).all()
    assert np.allclose(np.linalg.norm(ours, axis=1), 1, atol=1e-5)
    await model.close()


@pytest.mark.real
async def test_meaning_is_near_meaning_and_the_reranker_finds_the_passage(tmp_path):
    model = await real_model(tmp_path)
    embedder, reranker = TextEmbedder(model), LateReranker(model)
    assert isinstance(reranker, Reranker)
    await asyncio.gather(embedder.open(), reranker.open())
    query, near, far = await embedder.embed_text(
        ["Where can I park my car?", "There is a garage behind the house.", "The soup needs more salt."]
    )
    assert query @ near > query @ far + 0.1
    filler = "The committee met on Tuesday and spoke at length about the budget of the coming year. " * 4
    scores = await reranker.rerank(
        "What is the warranty period?",
        [filler, filler + "Parts are guaranteed for 24 months.", "A recipe for apple cake."],
    )
    assert scores[1] == max(scores)
    assert await reranker.rerank("  ", ["a", "b"]) == [0.0, 0.0]
    assert await reranker.rerank("a", []) == []
    await embedder.close()
    assert len(await reranker.rerank("a", ["b"])) == 1  # the one network is closed with its last user
    await reranker.close()
