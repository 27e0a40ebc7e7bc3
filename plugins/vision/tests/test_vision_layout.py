"""Rows, columns and tables from boxes; colours by name; a graph and a checkpoint that are not what they seem."""

import io
import json
import pickle

import numpy as np
import pytest
from omni_vision import colours, layout, pth, tfjs

from omni.capabilities import Region
from omni.errors import ModelCorrupt


def line(text, left, top, right, bottom):
    return Region("text", text, (left, top, right, bottom), 1.0)


def test_a_receipts_amounts_stay_in_their_rows():
    lines = [
        line("9.00", 300, 12, 340, 28),
        line("Bread", 10, 10, 80, 30),
        line("Milk", 10, 40, 70, 60),
        line("2.50", 300, 41, 340, 59),
    ]
    assert [one.text for one in layout.reading_order(lines)] == ["Bread", "9.00", "Milk", "2.50"]


def test_columns_of_prose_are_read_one_after_the_other():
    left = [line(f"left column line {i}", 10, 20 * i, 200, 20 * i + 16) for i in range(1, 8)]
    right = [line(f"right column line {i}", 240, 20 * i, 430, 20 * i + 16) for i in range(1, 8)]
    title = line("The title of the whole page stands above both", 60, 0, 380, 16)
    mixed = [one for pair in zip(right, left, strict=True) for one in pair] + [title]
    assert [one.text for one in layout.reading_order(mixed)] == [one.text for one in [title, *left, *right]]


def test_a_table_is_three_aligned_rows():
    rows = [
        [line(f"name {i}", 10, 20 * i, 90, 20 * i + 15), line(f"{i}.00", 200, 20 * i, 240, 20 * i + 15)]
        for i in range(4)
    ]
    (table,) = layout.tables([one for row in rows for one in row])
    assert table.text.splitlines()[1] == "name 0 | 0.00"
    assert table.box == (10, 0, 240, 75)
    assert layout.tables([one for row in rows[:2] for one in row]) == []


@pytest.mark.parametrize(
    ("rgb", "name"),
    [
        ((250, 10, 10), "red"),
        ((20, 60, 220), "blue"),
        ((30, 160, 40), "green"),
        ((250, 250, 250), "white"),
        ((10, 10, 12), "black"),
        ((128, 128, 130), "grey"),
        ((110, 70, 30), "brown"),
        ((250, 220, 20), "yellow"),
        ((255, 140, 0), "orange"),
        ((250, 120, 180), "pink"),
    ],
)
def test_colours_have_names(rgb, name):
    assert colours.dominant(np.full((20, 20, 3), rgb, np.uint8))[0] == (name, 1.0)


def test_a_checkpoint_can_run_no_code(tmp_path):
    class Evil:
        def __reduce__(self):
            return (eval, ("1/0",))

    stream = io.BytesIO()
    for part in (0x1950A86A20F9469CFC6C, 1001, {}, Evil()):
        pickle.dump(part, stream, protocol=2)
    path = tmp_path / "evil.pth"
    path.write_bytes(stream.getvalue())
    with pytest.raises(ModelCorrupt, match="no use for"):
        pth.read_tensors(path)
    path.write_bytes(b"nothing")
    with pytest.raises(ModelCorrupt, match="not a checkpoint"):
        pth.read_tensors(path)


def test_an_unknown_operator_is_an_error_not_a_guess(tmp_path):
    graph = tmp_path / "model.json"
    shape = {"shape": {"shape": {"dim": [{"size": "1"}, {"size": "2"}]}}}
    nodes = [{"name": "x", "op": "Placeholder", "attr": shape}, {"name": "y", "op": "Bucketize", "input": ["x"]}]
    graph.write_text(json.dumps({"modelTopology": {"node": nodes}, "weightsManifest": [{"weights": []}]}))
    (tmp_path / "model.bin").write_bytes(b"")
    with pytest.raises(ModelCorrupt, match="Bucketize"):
        tfjs.convert(graph, tmp_path / "model.bin", {"y": 2}, tmp_path / "model.onnx")
    with pytest.raises(ModelCorrupt, match="no node"):
        tfjs.convert(graph, tmp_path / "model.bin", {"z": 2}, tmp_path / "model.onnx")
