"""The gallery of broken plugins: each rule of the contract can fail, and a good plugin keeps them all."""

from __future__ import annotations

from pathlib import Path

import pytest

from omni.host.contract import check, check_apart
from omni.host.contract.rules import RULES
from omni.host.contract.writing import write_plugin

GALLERY = Path(__file__).parent / "gallery"

#: Which rule each of them breaks.
BREAKS = {
    "import": "registers_what_it_announces",
    "hang": "registers_what_it_announces",
    "thread": "use_leaves_nothing_behind",
    "block": "the_loop_keeps_turning",
    "memory": "memory_stays_bounded",
    "type": "answers_have_the_right_type",
    "write": "writes_in_its_own_folder",
    "socket": "works_without_the_network",
    "close": "close_is_idempotent",
    "mix": "answers_belong_to_their_questions",
    "stubborn": "cancellation_ends_a_call",
    "stray": "errors_are_sentences",
    "heavy": "import_is_light",
    "settings": "config_round_trips",
    "manifest": "manifest_is_complete",
    "early": "loading_leaves_nothing_open",
    "empty": "registers_what_it_announces",
}

GOOD = """
import asyncio
import numpy as np
from omni.capabilities import Embedder
from omni.errors import BadInput
from omni.host.hookspecs import Offer, hookimpl

class Vectors:
    space, dimension = "good", 2
    async def open(self): pass
    async def close(self): pass
    async def embed_text(self, texts, *, query=False):
        await asyncio.sleep(0)
        return np.array([[len(text), 1.0] for text in texts], np.float32).reshape(-1, 2)
    async def embed_images(self, images):
        raise BadInput("This space has no images.", "Give it text.")

class Plugin:
    @hookimpl
    def omni_capabilities(self):
        return [Offer(Embedder, "vectors", Vectors)]

plugin = Plugin()
"""


def test_every_rule_is_broken_by_one_of_the_gallery():
    assert set(BREAKS.values()) == set(RULES)


@pytest.mark.parametrize("name", BREAKS)
async def test_the_kit_finds_what_is_broken(name, tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    (outcome,) = await check(GALLERY / f"gallery_{name}", [BREAKS[name]], load_s=1.0)
    assert outcome.result == "broken", outcome
    assert f"gallery_{name}" in outcome.detail


def test_the_kit_survives_a_plugin_that_kills_its_process():
    outcomes = {outcome.rule: outcome for outcome in check_apart(GALLERY / "gallery_kill", ["errors_are_sentences"])}
    assert outcomes["survives"].result == "broken"
    assert "-9" in outcomes["survives"].detail


async def test_a_good_plugin_keeps_every_rule(tmp_path):
    extra = '[[capabilities]]\nprotocol = "Embedder"\n[config.size]\ntype = "integer"\ndefault = 3\nminimum = 1\n'
    folder = write_plugin(tmp_path, "kept_rules", GOOD, extra)
    outcomes = await check(folder)
    assert [outcome for outcome in outcomes if outcome.result != "kept"] == []
    assert len(outcomes) == len(RULES)
