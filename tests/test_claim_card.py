"""Claim cards say what they must, and a missed expectation fails them."""

import importlib.util
import json
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent


@pytest.fixture
def card_module(tmp_path, monkeypatch):
    spec = importlib.util.spec_from_file_location("card_under_test", ROOT / "benchmarks" / "card.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    monkeypatch.setattr(module, "RESULTS", tmp_path)
    return module


def test_last_line_is_the_card_and_the_file_is_written(card_module, tmp_path, capsys):
    args = card_module.arguments("demo", "?", argv=["--seed", "3"])
    card = card_module.Card("demo", args)
    card.figures = {"right": 0.95, "slow_s": float("nan")}
    card.baseline = {"right": 0.5}
    card.expect("right", ">=", 0.9)
    card.table("T", ["method", "right"], [["omni", 0.95], ["dumb", 0.5]])
    assert card.finish() == 0
    last = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert last["pass"] is True and last["seed"] == 3 and last["figures"]["slow_s"] is None
    required = {"bench", "figures", "baseline", "control", "expected", "pass", "seed", "data", "hardware", "seconds"}
    assert required <= set(last)
    assert json.loads((tmp_path / "demo.json").read_text()) == last


@pytest.mark.parametrize("value", [0.89, None, float("nan"), "much"])
def test_a_missed_expectation_fails_the_card(card_module, value, capsys):
    card = card_module.Card("demo", card_module.arguments("demo", "?", argv=[]))
    card.figures = {"right": value}
    card.expect("right", ">=", 0.9)
    assert card.finish() == 1
    assert json.loads(capsys.readouterr().out.splitlines()[-1])["pass"] is False


def test_quick_never_replaces_a_full_result(card_module, tmp_path):
    full = card_module.Card("demo", card_module.arguments("demo", "?", argv=[]))
    full.figures = {"right": 1.0}
    full.finish()
    quick = card_module.Card("demo", card_module.arguments("demo", "?", argv=["--quick"]))
    quick.figures = {"right": 0.1}
    quick.finish()
    assert json.loads((tmp_path / "demo.json").read_text())["figures"]["right"] == 1.0


def test_the_data_hash_changes_with_content_and_names(card_module, tmp_path):
    a, b = tmp_path / "a.txt", tmp_path / "b.txt"
    a.write_text("1")
    b.write_text("2")
    first = card_module.data_hash([a, b], tmp_path)
    assert first == card_module.data_hash([b, a], tmp_path)
    b.write_text("3")
    assert card_module.data_hash([a, b], tmp_path) != first
