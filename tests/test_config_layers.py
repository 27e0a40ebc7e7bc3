"""Settings are layered, checked, and say where they came from."""

import tomllib
from pathlib import Path

import pytest

import omni
from omni.config import Config, config_root, load_config, parse_value, save_setting
from omni.errors import ConfigError
from omni.runtime import Runtime
from omni.settings import describe

SCHEMA = {
    "voice": {"type": "string", "default": "auto", "choices": ["auto", "piper"], "help": "The voice."},
    "speed": {"type": "number", "default": 1.0, "minimum": 0.5, "maximum": 2.0},
    "loud": {"type": "boolean", "default": False},
    "names": {"type": "array", "default": []},
}


def load(tmp_path, flags=None, profile=None, environ=None, user=""):
    path = tmp_path / "config.toml"
    path.write_text(user)
    return load_config(flags, profile, environ=environ or {}, user=path)


def test_later_layers_win_and_each_key_knows_its_origin(tmp_path):
    (tmp_path / "profiles").mkdir()
    profile = "[server]\nport = 2\nhost = '127.0.0.2'\n[budgets]\nplan_steps = 3\n"
    (tmp_path / "profiles" / "mine.toml").write_text(profile)
    user = "[server]\nport = 3\n"
    environ = {"OMNI__SERVER__OPEN_BROWSER": "true", "OMNI__SERVER__PORT": "4"}
    config = load(tmp_path, {"server.port": 5, "server.host": None}, "mine", environ, user)
    assert config.get("server.port") == 5 and config.origin("server.port") == "flag"
    assert config.get("server.host") == "127.0.0.2" and config.origin("server.host") == "profile mine"
    assert config["server.open_browser"] is True
    assert config.origin("server.open_browser") == "environment OMNI__SERVER__OPEN_BROWSER"
    assert load(tmp_path, user=user).origin("server.port").endswith("config.toml")
    assert config.origin("chat.model") == "default"
    assert {origin for _, _, origin in config.items()} >= {"default", "flag", "profile mine"}


def test_every_setting_has_a_default_and_a_meaning():
    defaults = tomllib.loads((config_root() / "default.toml").read_text())
    config = Config(defaults, {})
    for key, spec in describe().items():
        assert config.get(key) is not None, f"{key} has no default"
        assert spec["help"], f"{key} says nothing about itself"


def test_no_setting_is_a_mere_promise():
    """Each setting is read somewhere by its name; those of a section that is read whole, by the section's."""
    root = Path(omni.__file__).parent
    sources = [*root.rglob("*.py"), *(root.parent / "plugins").rglob("omni_*/*.py")]
    text = "\n".join(path.read_text(encoding="utf-8") for path in sources if "tests" not in path.parts)
    whole = {section for section in ("remote", "mcp") if f'get("{section}"' in text or f'"{section}.' in text}
    unread = [key for key in describe() if f'"{key}"' not in text and key.split(".")[0] not in whole]
    assert not unread


def test_the_shipped_profiles_are_valid():
    profiles = sorted((config_root() / "profiles").glob("*.toml"))
    assert profiles
    for path in profiles:
        config = load_config(profile=path.stem, environ={}, user=path.parent / "none.toml")
        assert f"profile {path.stem}" in {origin for _, _, origin in config.items()}


def test_one_line_replaces_the_embedded_model_by_an_endpoint(tmp_path):
    config = load(tmp_path, environ={"OMNI__CHAT__ENDPOINT": "http://127.0.0.1:11434/v1/"})
    assert config.get("chat.endpoint") == "http://127.0.0.1:11434/v1"


@pytest.mark.parametrize(
    ("key", "value", "says"),
    [
        ("server.prot", 1, "'server.port'"),
        ("chat.endpont", "x", "'chat.endpoint'"),
        ("endpoint", "x", "'chat.endpoint'"),
        ("sever.port", 1, "'server.port'"),
        ("server.port", "abc", "integer"),
        ("server.port", 70000, "65535"),
        ("server", 3, "server"),
        ("chat.endpoint", "ftp://x", "http"),
        ("models.order", [], "at least 1"),
        ("models.order", ["hub", "torrent"], "hub"),
        ("models.hub_timeout_s", float("nan"), "finite"),
        ("plugins.speech", 3, "table"),
    ],
)
def test_a_bad_setting_is_an_error_that_helps(tmp_path, key, value, says):
    with pytest.raises(ConfigError) as caught:
        load(tmp_path, {key: value})
    assert says in str(caught.value) and key.split(".")[0] in str(caught.value)
    assert caught.value.exit_code == 2


def test_a_bad_file_is_named_with_its_line(tmp_path):
    with pytest.raises(ConfigError, match=r"config\.toml.*line 2"):
        load(tmp_path, user="[server]\nport = = 3\n")
    with pytest.raises(ConfigError, match="no profile 'nope'"):
        load(tmp_path, profile="nope")


def test_the_environment_names_the_variable_that_is_wrong(tmp_path):
    with pytest.raises(ConfigError, match="OMNI__SERVER__PRT"):
        load(tmp_path, environ={"OMNI__SERVER__PRT": "1"})


def test_plugin_settings_are_checked_against_the_manifest(tmp_path):
    config = load(tmp_path, user="[plugins.speech]\nvoice = 'piper'\n")
    assert config.plugin("speech", SCHEMA) == {"voice": "piper", "speed": 1.0, "loud": False, "names": []}
    assert config.plugin("speech") == {"voice": "piper"}
    assert config.plugin("other", SCHEMA)["voice"] == "auto"


@pytest.mark.parametrize(
    ("key", "value", "says"),
    [
        ("voise", "piper", "'plugins.speech.voice'"),
        ("voice", "loud", "one of auto, piper"),
        ("voice", 3, "must be a string"),
        ("speed", 3.0, "at most 2"),
        ("speed", 0.1, "at least 0.5"),
        ("speed", True, "a number"),
        ("loud", "yes", "a boolean"),
        ("names", "a", "an array"),
    ],
)
def test_a_bad_plugin_setting_is_an_error_that_helps(tmp_path, key, value, says):
    config = load(tmp_path, {f"plugins.speech.{key}": value})
    with pytest.raises(ConfigError) as caught:
        config.plugin("speech", SCHEMA)
    assert says in str(caught.value)


def test_values_handed_out_cannot_change_the_settings(tmp_path):
    config = load(tmp_path)
    config.get("models.order").append("evil")
    config.plugin("x", SCHEMA)["names"].append("evil")
    assert "evil" not in config.get("models.order") and config.plugin("x", SCHEMA)["names"] == []


def test_saving_keeps_comments_and_refuses_what_would_not_load(tmp_path):
    path = tmp_path / "config.toml"
    path.write_text("# mine\n[server]\nport = 1  # why\n")
    save_setting("server.port", 2, path)
    save_setting("plugins.speech.voice", "piper", path)
    assert "# mine" in path.read_text() and "# why" in path.read_text()
    assert load_config(environ={}, user=path).get("plugins.speech.voice") == "piper"
    before = path.read_text()
    with pytest.raises(ConfigError, match=r"server\.port"):
        save_setting("server.prot", 3, path)
    assert path.read_text() == before
    save_setting("server.port", None, path)
    assert load_config(environ={}, user=path).origin("server.port") == "default"


def test_omni_home_moves_everything(tmp_path, monkeypatch):
    monkeypatch.setenv("OMNI_HOME", str(tmp_path))
    config = load_config(environ={})
    assert config.data_dir == tmp_path / "data" and config.models_dir == tmp_path / "models"
    assert load_config({"models.dir": "/elsewhere"}, environ={}).models_dir.as_posix() == "/elsewhere"


@pytest.mark.parametrize(
    ("text", "value"),
    [("9000", 9000), ("true", True), ("0.5", 0.5), ('["a"]', ["a"]), ("hello", "hello"), ("a b", "a b"), ("", "")],
)
def test_values_are_typed_as_in_a_shell(text, value):
    assert parse_value(text) == value


async def test_off_the_record_is_where_every_conversation_begins(tmp_path, monkeypatch):
    monkeypatch.setenv("OMNI_HOME", str(tmp_path))
    runtime = Runtime(load_config({"session.off_the_record": True}, environ={}, user=tmp_path / "none.toml"), only=())
    try:
        assert (await runtime.open_session()).session.settings["off_the_record"] is True
        assert (await runtime.open_session({"off_the_record": False})).session.settings["off_the_record"] is False
    finally:
        await runtime.stop()
