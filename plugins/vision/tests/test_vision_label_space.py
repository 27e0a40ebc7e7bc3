"""The space of labels: a question and a picture meet where a label means both."""

import numpy as np
import pytest
from omni_vision.label_space import LabelSpace, believed, nearest
from omni_vision.pooled import PooledFeatures

from omni.capabilities import Embedder
from omni.errors import CapabilityUnavailable
from omni.testing import BagOfWords, FakeHost


class Percept:
    def __init__(self, label: int, thing: int) -> None:
        self.labels, self.presence = np.full(1000, 1e-4, np.float32), np.zeros(80, np.float32)
        self.labels[label], self.presence[thing] = 0.8, 0.9


class Words(BagOfWords):
    model = "minilm-l6"


async def test_a_question_lies_nearest_to_the_picture_whose_label_it_names():
    async def perceive(image: bytes) -> Percept:
        return Percept(*image)

    space = LabelSpace(FakeHost((Embedder, Words(dimension=2048))), perceive)
    rows = await space.embed_images([bytes([0, 0]), bytes([1, 1]), bytes([7, 2])])
    assert rows.shape == (3, space.dimension) == (3, 1080)
    assert np.allclose(np.linalg.norm(rows, axis=1), 1, atol=1e-5)
    question = (await space.embed_text(["a photo of a goldfish"]))[0]  # the label at 1
    assert np.argmax(rows @ question) == 1
    bicycle = (await space.embed_text(["a photo of a bicycle"]))[0]  # the object at 1
    assert np.argmax(rows @ bicycle) == 1
    assert (await space.embed_text([])).shape == (0, 1080)


def test_vectors_stay_finite_for_nothing_seen():
    assert np.isfinite(believed(np.zeros(1000), np.zeros(80))).all()
    assert np.isfinite(nearest(np.zeros((1, 4)), np.zeros((3, 4)))).all()


async def test_features_are_of_length_one_and_hold_no_text():
    async def features(image: bytes) -> np.ndarray:
        return np.full(1280, float(image[0]))

    pooled = PooledFeatures(features)
    rows = await pooled.embed_images([b"\x02", b"\x00"])
    assert np.linalg.norm(rows[0]) == pytest.approx(1) and not rows[1].any()
    with pytest.raises(CapabilityUnavailable):
        await pooled.embed_text(["a dog"])
