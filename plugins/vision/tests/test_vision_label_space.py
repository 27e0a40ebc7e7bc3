"""The space of labels: a question and a picture meet where a label means both."""

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from omni_vision import colours, labels
from omni_vision.label_space import LabelSpace, believed, coloured, nearest
from omni_vision.perception import Spread
from omni_vision.pooled import PooledFeatures
from omni_vision.vocabulary import Vocabulary

from omni.capabilities import Embedder
from omni.errors import CapabilityUnavailable
from omni.testing import BagOfWords, FakeHost


def seen(label: int, thing: int, colour: int) -> tuple[Any, Spread]:
    """A picture of one label, one thing, one colour."""
    chances, presence, palette = np.full(1000, 1e-4), np.zeros(80), np.zeros(12)
    chances[label], presence[thing], palette[colour] = 0.8, 0.9, 0.7
    logits = np.log(chances) - np.log(chances).mean()
    return SimpleNamespace(presence=presence), Spread(chances, logits, np.full(1280, float(label)), palette)


async def spread(image: bytes) -> tuple[Any, Spread]:
    return seen(*image)


class Words(BagOfWords):
    model = "minilm-l6"


async def test_a_question_lies_nearest_to_the_picture_whose_label_it_names():
    space = LabelSpace(Vocabulary(FakeHost((Embedder, Words(dimension=2048)))), spread)
    rows = await space.embed_images([bytes([0, 0, 0]), bytes([1, 1, 1]), bytes([7, 2, 2])])
    assert rows.shape == (3, space.dimension) == (3, 1092)
    assert np.allclose(np.linalg.norm(rows, axis=1), 1, atol=1e-5)
    question = (await space.embed_text(["a photo of a goldfish"]))[0]  # the label at 1
    assert np.argmax(rows @ question) == 1
    bicycle = (await space.embed_text(["a photo of a bicycle"]))[0]  # the object at 1
    assert np.argmax(rows @ bicycle) == 1
    assert (await space.embed_text([])).shape == (0, 1092)


async def test_a_colour_that_is_named_decides_between_two_alike():
    space = LabelSpace(Vocabulary(FakeHost((Embedder, Words(dimension=2048)))), spread)
    red, blue = colours.NAMES.index("red"), colours.NAMES.index("blue")
    rows = await space.embed_images([bytes([1, 1, red]), bytes([1, 1, blue])])
    asked = await space.embed_text(["a red bicycle", "a blue bicycle", "a bicycle"], query=True)
    near = rows @ asked.T
    assert near[0, 0] > near[1, 0] + 0.1 and near[1, 1] > near[0, 1] + 0.1 and near[0, 2] == pytest.approx(near[1, 2])
    assert np.allclose(*(await space.embed_text(["a red bicycle", "a blue bicycle"]))[:, -12:])
    assert coloured("grey and Gray")[colours.NAMES.index("grey")] == 1 and not coloured("predictable").any()


async def test_the_vocabulary_is_embedded_once_and_anew_when_the_model_is_another(tmp_path):
    asked = []

    class Counting(Words):
        async def embed_text(self, texts, *, query=False):
            asked.append(len(texts))
            return await super().embed_text(texts, query=query)

    first = await Vocabulary(FakeHost((Embedder, Counting(dimension=64))), tmp_path).vectors()
    assert first[0].shape == (1000, 64) and first[1].shape == (80, 64) and sum(asked) == 1 + 1080 + 1000
    again = await Vocabulary(FakeHost((Embedder, Counting(dimension=64))), tmp_path).vectors()
    assert sum(asked) == 2082 and np.allclose(first[0], again[0], atol=2e-3)
    (kept,) = tmp_path.glob("vocabulary-*.npz")
    other = await Vocabulary(FakeHost((Embedder, Counting(dimension=32))), tmp_path).vectors()
    assert other[0].shape == (1000, 32)
    kept.write_bytes(b"torn")
    assert (await Vocabulary(FakeHost((Embedder, Counting(dimension=64))), tmp_path).vectors())[1].shape == (80, 64)


def test_every_label_has_a_meaning_that_is_more_than_its_number():
    meanings = labels.meanings()
    assert len(meanings) == len(labels.names()) == 1000 and all(len(words.split()) >= 1 for words in meanings)
    assert "dog" in meanings[labels.names().index("boxer")] and "trumpet" in meanings[labels.names().index("cornet")]


def test_vectors_stay_finite_for_nothing_seen():
    assert np.isfinite(believed(np.zeros(1000), np.zeros(80), np.zeros(12))).all()
    assert np.isfinite(nearest(np.zeros((1, 4)), np.zeros((3, 4)))).all()


async def test_features_are_of_length_one_and_hold_no_text():
    pooled = PooledFeatures(spread)
    rows = await pooled.embed_images([bytes([2, 0, 0]), bytes([0, 0, 0])])
    assert np.linalg.norm(rows[0]) == pytest.approx(1) and not rows[1].any()
    with pytest.raises(CapabilityUnavailable):
        await pooled.embed_text(["a dog"])
