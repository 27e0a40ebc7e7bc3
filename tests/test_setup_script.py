"""The set-up script: repeatable, quick when nothing changed, clear where it can't go on."""

import importlib.util
import json
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

ROOT = Path(__file__).resolve().parent.parent


@pytest.fixture
def setup_script(tmp_path, monkeypatch):
    spec = importlib.util.spec_from_file_location("setup_script_under_test", ROOT / "scripts" / "setup.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    for name in (".", "memory", "plugins/toy", "plugins/nothing"):
        (tmp_path / name).mkdir(parents=True, exist_ok=True)
    root = "[project]\nname='root'\n[project.optional-dependencies]\ntest=['pytest']\n"
    (tmp_path / "pyproject.toml").write_text(root)
    (tmp_path / "memory/pyproject.toml").write_text("[project]\nname='memory'\n")
    (tmp_path / "plugins/toy/pyproject.toml").write_text("[project]\nname='toy'\n")
    monkeypatch.setattr(module, "ROOT", tmp_path)
    monkeypatch.setattr(module, "VENV", tmp_path / ".venv")
    monkeypatch.setattr(module, "STAMP", tmp_path / "stamp.json")
    monkeypatch.setattr(module, "make_environment", lambda: None)
    return module


def test_the_workspace_is_the_kernel_then_every_member(setup_script, tmp_path):
    assert setup_script.members() == [tmp_path, tmp_path / "memory", tmp_path / "plugins/toy"]
    assert setup_script.requirements(test=True)[1] == f"{tmp_path}[test]"
    assert setup_script.requirements(test=False)[1] == str(tmp_path)


def test_a_second_run_installs_nothing_until_something_changes(setup_script, tmp_path, monkeypatch):
    calls = []
    monkeypatch.setattr(setup_script, "pip", lambda *arguments: calls.append(arguments))
    setup_script.install_workspace(test=False)
    assert len(calls) == 2
    setup_script.install_workspace(test=False)
    assert len(calls) == 2
    setup_script.install_workspace(test=True)
    assert len(calls) == 4, "the tests want more"
    setup_script.install_workspace(test=False)
    assert len(calls) == 4, "and what serves the tests serves a run"
    (tmp_path / "plugins/toy/pyproject.toml").write_text("[project]\nname='toy'\nversion='2'\n")
    setup_script.install_workspace(test=False)
    assert len(calls) == 6
    (tmp_path / "stamp.json").write_text("{broken")
    setup_script.install_workspace(test=False)
    assert len(calls) == 8


def test_a_failed_install_shows_what_pip_said_and_leaves_no_stamp(setup_script, monkeypatch, capfd, tmp_path):
    (tmp_path / ".venv").mkdir()
    monkeypatch.setattr(setup_script, "PYTHON", Path(sys.executable))
    monkeypatch.setattr(setup_script, "BUILD_TOOLS", ["--no-index", "omni-there-is-no-such-thing"])
    with pytest.raises(SystemExit):
        setup_script.install_workspace(test=False)
    assert setup_script.stamped() == {}
    assert "omni-there-is-no-such-thing" in capfd.readouterr().err


def test_missing_system_packages_are_installed_as_root_and_named_otherwise(setup_script, monkeypatch, capsys):
    monkeypatch.setattr(setup_script, "missing_packages", lambda test: ["libportaudio2", "xvfb"])
    monkeypatch.setattr(setup_script.shutil, "which", lambda name: "/usr/bin/" + name)
    ran = []
    monkeypatch.setattr(
        setup_script.subprocess, "run", lambda command, **k: (ran.append(command), SimpleNamespace(returncode=0))[1]
    )
    monkeypatch.setattr(setup_script.os, "geteuid", lambda: 1000, raising=False)
    setup_script.install_packages(test=True)
    assert not ran and "sudo apt-get install -y --no-install-recommends libportaudio2 xvfb" in capsys.readouterr().out
    monkeypatch.setattr(setup_script.os, "geteuid", lambda: 0, raising=False)
    setup_script.install_packages(test=True)
    assert ran[-1][-2:] == ["libportaudio2", "xvfb"]
    monkeypatch.setattr(setup_script.shutil, "which", lambda name: None)
    ran.clear()
    setup_script.install_packages(test=True)
    assert not ran and "package manager" in capsys.readouterr().out


def test_models_that_cannot_be_had_stop_a_test_run_and_no_start(setup_script, monkeypatch, capsys):
    listed = json.dumps([{"id": "a", "default": True, "state": "missing", "bytes": 5}])

    def run(command, **kwargs):
        return SimpleNamespace(returncode=0 if "list" in command else 1, stdout=listed, stderr="")

    monkeypatch.setattr(setup_script.subprocess, "run", run)
    monkeypatch.setattr(setup_script.shutil, "which", lambda name: "/usr/bin/npm")
    setup_script.fetch_models(strict=False)
    assert "starts without them" in capsys.readouterr().out
    with pytest.raises(SystemExit):
        setup_script.fetch_models(strict=True)


def test_the_make_targets_are_explained():
    done = subprocess.run(["make", "-s"], cwd=ROOT, capture_output=True, text=True, timeout=30)
    assert done.returncode == 0
    for target in ("run", "test", "test-fast", "bench-%", "lint", "dist", "clean"):
        assert f"make {target}" in done.stdout


def test_it_needs_nothing_but_the_standard_library():
    done = subprocess.run(
        [sys.executable, "-I", "-S", str(ROOT / "scripts" / "setup.py"), "--help"],
        capture_output=True, text=True, timeout=30,
    )  # fmt: skip
    assert done.returncode == 0 and "--test" in done.stdout
