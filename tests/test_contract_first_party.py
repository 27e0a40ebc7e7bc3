"""Every plugin of this repository keeps every rule of the contract."""

from __future__ import annotations

from pathlib import Path

import pytest

from omni.host.contract import check, contract_tests
from omni.host.contract.rules import CAPABILITY_RULES, RULES
from omni.host.discovery import plugin_folders

ROOT = Path(__file__).resolve().parent.parent
MEMBERS = [
    folder
    for member in (ROOT / "memory", ROOT / "tools", *sorted((ROOT / "plugins").iterdir()))
    if member.is_dir()
    for folder in plugin_folders(member)
]

#: A thousand calls (or four seconds of them) are slow where each call reads an image or hears a sound.
SLOW = {("memory_stays_bounded", "omni_vision"), ("memory_stays_bounded", "omni_video_search")}


def each_rule_of_each_plugin():
    for rule in RULES:
        for folder in MEMBERS:
            marks = [pytest.mark.slow] if (rule, folder.name) in SLOW else []
            yield pytest.param(folder, rule, id=f"{rule}-{folder.name}", marks=marks)


async def outcome_of(folder, rule, **options):
    """What became of a rule; a rule that says nothing about this plugin is skipped by name."""
    outcome = (await check(folder, [rule], **options))[-1]
    if outcome.result == "skipped":
        pytest.skip(f"{rule}: {outcome.detail}")
    return outcome


@pytest.mark.parametrize(("folder", "rule"), each_rule_of_each_plugin())
async def test_first_party_plugins_keep_the_contract(folder, rule):
    outcome = await outcome_of(folder, rule)
    assert outcome.result == "kept", outcome.detail


#: With models loaded anew for each rule this takes minutes: it is tried where a model answers, on what models change.
WITH_MODELS = ("answers_have_the_right_type", "cancellation_ends_a_call", "errors_are_sentences")
ENGINES = [f for f in MEMBERS if f.name in ("omni_memory", "omni_speech", "omni_language", "omni_vision")]


@pytest.mark.real
@pytest.mark.parametrize("folder", ENGINES, ids=lambda folder: folder.name)
@pytest.mark.parametrize("rule", WITH_MODELS)
async def test_engines_keep_the_contract_with_their_models(folder, rule):
    assert rule in {made.__name__ for made in CAPABILITY_RULES}
    outcome = await outcome_of(folder, rule, with_models=True)
    assert outcome.result == "kept", outcome.detail


def test_the_repository_has_plugins_to_check():
    assert len(MEMBERS) >= 5


# What a third party writes is one line; here it is for a plugin of the gallery that breaks one rule alone.
globals().update(
    {
        name: test
        for name, test in contract_tests(ROOT / "tests/gallery/gallery_settings").items()
        if "config_round_trips" not in name
    }
)
