"""Embedders: the dual encoder on a tiny random graph of the same signature, and images in the text space."""

import json
import zlib
from types import SimpleNamespace

import numpy as np
import onnx
import pytest
from omni_vision import conse, images, labels, objects
from omni_vision.dual_encoder import DualEncoder
from omni_vision.perception import Spread
from omni_vision.vocabulary import Vocabulary
from onnx import TensorProto, helper, numpy_helper
from tokenizers import Tokenizer, models, pre_tokenizers

from omni.capabilities import Embedder
from omni.errors import BadInput, ModelCorrupt
from omni.testing import FakeHost

WORDS = ["<|endoftext|>", "<pad>", "red", "blue", "dog"]


def encoder(folder, dimension=8, size=16, masked=True, outputs=("text_embeds", "image_embeds")):
    """A model folder: embeddings averaged over tokens; colours averaged over the picture, projected."""
    rng = np.random.default_rng(1)
    tables = {"words": rng.normal(size=(len(WORDS), dimension)), "colours": rng.normal(size=(3, dimension))}
    inputs = [
        helper.make_tensor_value_info("input_ids", TensorProto.INT64, ["texts", "tokens"]),
        helper.make_tensor_value_info("pixel_values", TensorProto.FLOAT, ["images", 3, size, size]),
    ]
    nodes = [
        helper.make_node("Gather", ["words", "input_ids"], ["tokens_"]),
        helper.make_node("ReduceMean", ["pixel_values"], ["mean"], axes=[2, 3], keepdims=0),
        helper.make_node("MatMul", ["mean", "colours"], ["image_embeds"]),
    ]
    if masked:
        inputs.append(helper.make_tensor_value_info("attention_mask", TensorProto.INT64, ["texts", "tokens"]))
        tables["one"] = np.array([2])
        nodes += [
            helper.make_node("Cast", ["attention_mask"], ["mask"], to=TensorProto.FLOAT),
            helper.make_node("Unsqueeze", ["mask", "axis"], ["mask3"]),
            helper.make_node("Mul", ["tokens_", "mask3"], ["masked"]),
            helper.make_node("ReduceMean", ["masked"], ["text_embeds"], axes=[1], keepdims=0),
        ]
    else:
        nodes.append(helper.make_node("ReduceMean", ["tokens_"], ["text_embeds"], axes=[1], keepdims=0))
    weights = [numpy_helper.from_array(v.astype(np.float32), k) for k, v in tables.items() if k != "one"]
    weights.append(numpy_helper.from_array(np.array([2], np.int64), "axis"))
    shown = [helper.make_tensor_value_info(name, TensorProto.FLOAT, ["n", dimension]) for name in outputs]
    graph = helper.make_graph(nodes, "tiny", inputs, shown, weights)
    (folder / "onnx").mkdir(parents=True)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    onnx.save(model, str(folder / "onnx" / "model_quantized.onnx"))
    words = Tokenizer(models.WordLevel({word: i for i, word in enumerate(WORDS)}, unk_token="<pad>"))
    words.pre_tokenizer = pre_tokenizers.Whitespace()
    words.save(str(folder / "tokenizer.json"))
    prepare = {"size": {"shortest_edge": size}, "crop_size": {"height": size, "width": size}, "do_center_crop": True}
    prepare |= {"image_mean": [0.5, 0.5, 0.5], "image_std": [0.5, 0.5, 0.5]}
    (folder / "preprocessor_config.json").write_text(json.dumps(prepare))
    return folder


def dual(folder):
    async def find(model):
        assert model == "tinyclip-8m"
        return folder

    return DualEncoder(find)


def picture(colour):
    return images.encode(np.full((20, 30, 3), colour, np.uint8), "PNG")


@pytest.mark.parametrize("masked", [True, False])
async def test_text_and_images_are_unit_vectors_of_one_space(tmp_path, masked):
    one = dual(encoder(tmp_path, masked=masked))
    text = await one.embed_text(["red", "blue dog", "", "red"])
    seen = await one.embed_images([picture((255, 0, 0)), picture((0, 0, 255)), picture((255, 0, 0))])
    assert text.shape == (4, 8)
    assert seen.shape == (3, 8)
    assert one.dimension == 8
    assert np.allclose(np.linalg.norm(np.concatenate([text[:2], seen]), axis=1), 1, atol=1e-5)
    assert np.allclose(seen[0], seen[2])
    assert not np.allclose(seen[0], seen[1])
    alone = await one.embed_text(["red"])
    assert not masked or np.allclose(alone[0], text[0], atol=1e-5)  # padding changes nothing
    with pytest.raises(BadInput):
        await one.embed_images([b"junk"])
    await one.close()
    await one.close()


async def test_another_graph_is_refused(tmp_path):
    with pytest.raises(ModelCorrupt, match="no image_embeds"):
        await dual(encoder(tmp_path, outputs=("text_embeds",))).open()


class Words:
    """A text embedder whose vectors are random but fixed by the text."""

    space, model, dimension = "text", "minilm-l6", 384

    async def embed_text(self, texts, *, query=False):
        rows = np.stack([np.random.default_rng(zlib.crc32(text.encode())).normal(size=384) for text in texts])
        return (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32)


async def test_an_image_lies_near_what_it_shows():
    presence, logits = np.zeros(80, np.float32), np.full(1000, -0.1, np.float32)
    logits[labels.names().index("beagle")] = 9.0
    presence[objects.names().index("dog")] = 0.8

    async def spread(image):
        return SimpleNamespace(presence=presence), Spread(np.exp(logits), logits, np.zeros(1280), np.zeros(12))

    host = FakeHost((Embedder, Words()))
    one = conse.TextSpaceImages(Vocabulary(host), spread)
    (vector,) = await one.embed_images([b"any"])
    beagle, dog, cat = await one.embed_text(["a photo of a beagle", "a photo of a dog", "a photo of a cat"])
    assert vector.shape == (384,)
    assert np.isclose(np.linalg.norm(vector), 1, atol=1e-5)
    assert vector @ beagle > vector @ dog > 0.2 > 0.1 > vector @ cat
