"""The manifest: read without an import, and every mistake named with its place and the nearest key."""

from __future__ import annotations

import sys

import pytest

from omni.errors import ManifestError
from omni.host.manifest import api_refusal, api_versions, parse_manifest, read_manifest

GOOD = """\
id = "photos"
version = "1.2.0"
omni_api = ">=1.0,<2"
entry = "omni_photos.plugin:plugin"

[[capabilities]]
protocol = "Embedder"
features = { space = "image-text" }

[[stages]]
name = "watcher"
reads = ["VideoFrame"]
writes = ["Custom"]

[[tools]]
name = "find_photo"
effect = "pure"
examples = ["show me the dog"]

[permissions]
network = ["example.org"]
camera = true

[config.voice]
type = "string"
default = "auto"
choices = ["auto", "joe"]
"""


def test_a_good_manifest_is_read_and_nothing_imported(tmp_path):
    (tmp_path / "plugin.toml").write_text(GOOD)
    manifest = read_manifest(tmp_path)
    assert manifest.offered() == {"Embedder"}
    assert manifest.tools[0].examples == ("show me the dog",)
    assert manifest.permissions.sentences() == ["talk to example.org", "see the camera"]
    assert manifest.permissions.asked() == {"network": ["example.org"], "camera": True}
    assert manifest.config_schema()["voice"]["choices"] == ("auto", "joe")
    assert "omni_photos" not in sys.modules


@pytest.mark.parametrize(
    ("old", "new", "line", "said"),
    [
        ("version = ", "versoin = ", 2, "unknown key 'versoin'. Did you mean 'version'?"),
        ("protocol = ", "protocl = ", 7, "unknown key 'protocl' in [capabilities]. Did you mean 'protocol'?"),
        ('"Embedder"', '"Embeder"', 7, "did you mean 'Embedder'?"),
        ('"VideoFrame"', '"VideoFrames"', 12, "did you mean 'VideoFrame'?"),
        ('"pure"', '"harmless"', 17, "'pure', 'idempotent', 'mutating' or 'consequential'"),
        ("camera", "camrea", 22, "Did you mean 'camera'?"),
        (
            "[config.voice]\ntype",
            "[config.voice]\ntyp",
            25,
            "unknown key 'typ' in [config.voice]. Did you mean 'type'?",
        ),
        ('">=1.0,<2"', '"one point oh"', 3, "is not a range"),
        ("omni_photos.plugin:plugin", "omni_photos.plugin", 4, "'entry'"),
        ('id = "photos"', 'id = "Photos!"', 1, "'id'"),
    ],
)
def test_a_mistake_is_named_with_line_and_nearest_key(old, new, line, said):
    with pytest.raises(ManifestError) as caught:
        parse_manifest(GOOD.replace(old, new, 1), "plugin.toml")
    assert f"line {line}, column 1" in caught.value.message
    assert said in str(caught.value)


def test_the_place_of_the_second_of_several_tables_is_found():
    text = GOOD + '\n[[tools]]\nname = "b"\neffect = "pure"\nsumary = "x"\n'
    with pytest.raises(ManifestError, match="line 32, column 1: unknown key 'sumary'"):
        parse_manifest(text)


def test_broken_toml_says_line_and_column():
    with pytest.raises(ManifestError, match=r"line 2, column \d+"):
        parse_manifest('id = "x"\nversion = \n')


def test_an_unknown_isolation_tier_is_refused():
    with pytest.raises(ManifestError, match="'in-process' or 'process'"):
        parse_manifest('isolation = "cloud"\n' + GOOD)


def test_an_own_environment_needs_an_own_process():
    with pytest.raises(ManifestError, match="environment"):
        parse_manifest(GOOD + '\n[environment]\nrequirements = ["numpy<2"]\n')


def test_a_tool_that_stands_twice_is_refused():
    with pytest.raises(ManifestError, match="'find_photo' stands twice"):
        parse_manifest(GOOD + '\n[[tools]]\nname = "find_photo"\neffect = "pure"\n')


def test_a_missing_manifest_and_binary_rubbish_are_sentences(tmp_path):
    with pytest.raises(ManifestError, match="There is no manifest"):
        read_manifest(tmp_path)
    (tmp_path / "plugin.toml").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(ManifestError, match="can't be read"):
        read_manifest(tmp_path)


def test_the_previous_minor_api_keeps_working():
    manifest = parse_manifest(GOOD.replace('">=1.0,<2"', '"==1.3.*"'))
    assert api_versions("1.4") == ("1.4", "1.3")
    assert api_refusal(manifest, "1.3") == ""
    assert api_refusal(manifest, "1.4") == ""
    assert "written for the plugin interface ==1.3.*" in api_refusal(manifest, "1.5")
    assert api_refusal(manifest, "2.0")


def test_the_events_known_without_importing_the_vocabulary_are_events():
    from omni import events
    from omni.host.manifest import _COMMON_EVENTS

    assert {kind.__name__ for kind in events.ALL} >= _COMMON_EVENTS


@pytest.mark.parametrize("wanted", [">=1.0,<2", ">=1.1, <1.3", ">=2.0,<3", ">=1.0,<1.1", ">=10.2,<11"])
def test_a_plain_range_is_compared_as_packaging_does(wanted):
    from packaging.specifiers import SpecifierSet

    from omni.host.manifest import _PLAIN_RANGE, _serves

    assert _PLAIN_RANGE.fullmatch(wanted)
    for version in ("0.9", "1.0", "1.1", "1.2", "1.3", "2.0", "10.2", "10.10"):
        assert _serves(wanted, version) == SpecifierSet(wanted).contains(version, prereleases=True), version
