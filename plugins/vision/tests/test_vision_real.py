"""The real models on real pictures: floors, never golden texts; the ONNX graph against PyTorch's arithmetic."""

import os
from pathlib import Path

import numpy as np
import pytest
from omni_vision import efficientnet, images, pth
from omni_vision.composed import ComposedVision
from omni_vision.reader import RapidReader
from PIL import Image, ImageDraw, ImageFont

from omni.catalogue.store import ModelStore
from omni.config import load_config
from omni.errors import ModelError
from omni.testing import FakeHost

pytestmark = pytest.mark.real

ROOT = Path(__file__).parents[3]
DATA = Path(os.environ.get("OMNI_TEST_DATA") or ROOT.parent / "shared" / "data")


def shared(path):
    if not (DATA / path).is_file():
        pytest.skip(f"{path} is not among the test data on this machine")
    return (DATA / path).read_bytes()


@pytest.fixture(scope="module")
def store():
    return ModelStore.from_config(load_config())


async def model(store, name):
    try:
        return await store.path(name)
    except ModelError as error:
        pytest.skip(f"the model {name} can't be had: {error}")


def written(text, size=24, width=900, height=300, turn=0):
    page = Image.new("RGB", (width, height), "white")
    ImageDraw.Draw(page).multiline_text((20, 20), text, fill="black", font=ImageFont.load_default(size), spacing=size)
    return images.encode(np.asarray(page.rotate(turn, expand=True, fillcolor="white")), "PNG")


TEXT = "Error 404: the page was not found\nPlease check the address and try again\nSupport code 7F3A-9921"


@pytest.mark.parametrize("turn", [0, 90, 180, 270])
async def test_text_is_read_in_order_whichever_way_the_page_is_turned(turn):
    reader = RapidReader()
    lines = await reader.read(written(TEXT, turn=turn))
    await reader.close()
    joined = " ".join(line.text for line in lines)
    assert "404" in joined
    assert joined.index("404") < joined.index("address") < joined.index("9921")
    width, height = (900, 300) if turn in (0, 180) else (300, 900)
    assert all(0 <= line.box[0] < line.box[2] <= width and 0 <= line.box[1] < line.box[3] <= height for line in lines)


async def test_small_text_in_a_large_picture_is_not_shrunk_away():
    reader = RapidReader()
    page = Image.new("RGB", (2400, 1800), "white")
    pen = ImageDraw.Draw(page)
    font = ImageFont.load_default(18)
    pen.text((2100, 1700), "serial 48151623", fill="black", font=font)
    pen.text((1180, 700), "this sentence crosses the edge of a tile and stays whole", fill="black", font=font)
    lines = await reader.read(images.encode(np.asarray(page), "PNG"))
    await reader.close()
    assert any("48151623" in line.text for line in lines)
    assert any("crosses the edge of a tile and stays whole" in line.text for line in lines)


async def test_a_photo_is_seen_and_a_second_question_is_free(store, tmp_path):
    await model(store, "everyday-vision")
    photo = shared("photos/coco128/img/000000000036.jpg")
    vision = ComposedVision(store.path, tmp_path, FakeHost())
    scene = await vision.look(photo)
    kinds = {(region.kind, region.text) for region in scene.regions}
    assert {("object", "person"), ("object", "umbrella"), ("face", "face")} <= kinds
    first = await vision.answer([photo], "Is there an umbrella?")
    again = await vision.answer([photo], "Is there an elephant?")
    await vision.close()
    assert first.text.startswith("Yes")
    assert first.regions[0][1].text == "umbrella"
    assert again.text.startswith("No")
    assert again.seconds < scene.seconds


async def test_the_graph_computes_what_pytorch_computes(store, tmp_path):
    torch = pytest.importorskip("torch", reason="torch is not installed")
    checkpoint = next((await model(store, "efficientnet-lite0")).glob("*.pth"))
    tensors = pth.read_tensors(checkpoint)
    known = torch.load(checkpoint, weights_only=True)
    assert tensors.keys() == known.keys()
    assert all(np.array_equal(tensors[name], known[name].numpy()) for name in known)
    efficientnet.build(checkpoint, tmp_path / "lite0.onnx")
    x = np.random.default_rng(0).uniform(-1, 1, (2, 3, 224, 224)).astype(np.float32)
    from omni_vision.runtime import session

    probabilities, features = session(tmp_path / "lite0.onnx").run(None, {"image": x})
    expected = forward(torch, known, torch.from_numpy(x))
    assert np.allclose(features, expected.numpy(), atol=2e-3)
    assert np.allclose(probabilities.sum(axis=1), 1, atol=1e-4)


def forward(torch, state, x):
    """EfficientNet-lite0's features, written with PyTorch's own functions."""
    import torch.nn.functional as F

    def same(y, kernel, stride):
        total = [max((-(-side // stride) - 1) * stride + kernel - side, 0) for side in y.shape[2:]]
        return F.pad(y, [total[1] // 2, total[1] - total[1] // 2, total[0] // 2, total[0] - total[0] // 2])

    def convolve(y, weight, norm, stride=1, groups=1, relu=True):
        w = state[f"{weight}.weight"]
        y = F.conv2d(same(y, w.shape[2], stride), w, stride=stride, groups=groups)
        parts = [state[f"{norm}.{part}"] for part in ("running_mean", "running_var", "weight", "bias")]
        y = F.batch_norm(y, *parts, eps=1e-3)
        return F.relu6(y) if relu else y

    with torch.inference_mode():
        x = convolve(x, "_conv_stem", "_bn0", 2)
        block = 0
        for repeats, _, stride, expansion in efficientnet.STAGES:
            for repeat in range(repeats):
                name = f"_blocks.{block}"
                y = convolve(x, f"{name}._expand_conv", f"{name}._bn0") if expansion != 1 else x
                y = convolve(y, f"{name}._depthwise_conv", f"{name}._bn1", stride if repeat == 0 else 1, y.shape[1])
                y = convolve(y, f"{name}._project_conv", f"{name}._bn2", relu=False)
                x = x + y if repeat else y
                block += 1
        return convolve(x, "_conv_head", "_bn1").mean(dim=(2, 3))
