"""`omni plugin install|remove`: the manifest first, one question, an environment of its own where asked for."""

from __future__ import annotations

import subprocess
import sys
import zipfile
from pathlib import Path

import pytest
from typer.testing import CliRunner

from omni.capabilities import Embedder
from omni.cli.plugin import app
from omni.errors import BadInput, ManifestError, PluginError, Refused
from omni.host import install
from omni.host.contract.writing import write_plugin
from omni.host.discovery import discover
from omni.host.host import Host
from omni.host.registry import Registry

BODY = """
import numpy as np
from omni.capabilities import Embedder
from omni.host.hookspecs import Offer, hookimpl

class Vectors:
    space, dimension = "old", 2
    async def open(self): pass
    async def close(self): pass
    async def embed_text(self, texts, *, query=False):
        return np.array([[int(part) for part in np.__version__.split(".")[:2]]], np.float32)
    async def embed_images(self, images): return np.zeros((0, 2), np.float32)

class Plugin:
    @hookimpl
    def omni_capabilities(self):
        return [Offer(Embedder, "vectors", Vectors)]

plugin = Plugin()
"""
MANIFEST = '[[capabilities]]\nprotocol = "Embedder"\n[permissions]\ncamera = true\n'
OWN = MANIFEST + '[environment]\nrequirements = ["numpy==1.26.4"]\n'


def make_wheel(folder: Path, plugin: str, manifest: str = MANIFEST, **more: str) -> Path:
    """A wheel of a plugin package, written as the format says (PEP 427)."""
    source = write_plugin(folder / "src", plugin, BODY, manifest, **more)
    name = source.name
    wheel = folder / f"{name}-0.1.0-py3-none-any.whl"
    with zipfile.ZipFile(wheel, "w") as archive:
        for file in source.iterdir():
            archive.write(file, f"{name}/{file.name}")
        info = f"{name}-0.1.0.dist-info"
        archive.writestr(
            f"{info}/METADATA", f"Metadata-Version: 2.1\nName: {name}\nVersion: 0.1.0\nRequires-Dist: omni-assistant\n"
        )
        archive.writestr(
            f"{info}/WHEEL", "Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
        )
        archive.writestr(f"{info}/entry_points.txt", f"[omni.plugins]\n{plugin} = {name}\n")
        archive.writestr(f"{info}/RECORD", "")
    return wheel


@pytest.fixture
def home(tmp_path, monkeypatch):
    monkeypatch.setenv("OMNI_HOME", str(tmp_path / "home"))
    return tmp_path / "home/data"


def invoke(*arguments, answer=""):
    return CliRunner().invoke(app, list(arguments), input=answer)


def test_what_it_may_do_is_shown_and_a_no_installs_nothing(tmp_path, home, monkeypatch):
    monkeypatch.setattr(install, "run_pip", lambda *a, **_: pytest.fail("pip ran before the yes"))
    wheel = make_wheel(tmp_path, "inst_no")
    done = invoke("install", str(wheel), answer="n\n")
    assert "see the camera (advisory" in done.output
    assert isinstance(done.exception, Refused)
    assert "state" not in done.output  # it has none yet
    nobody = invoke("install", str(wheel), answer="")
    assert isinstance(nobody.exception, Refused) and "--yes" in str(nobody.exception)
    assert Registry.read(home).plugins == {}


def test_a_yes_is_recorded_and_pip_may_change_nothing_that_is_there(tmp_path, home, monkeypatch):
    calls = []

    def pip(python, *arguments, **_):
        calls.append(arguments)
        constraints = Path(arguments[arguments.index("-c") + 1]).read_text()
        assert "numpy==" in constraints

    monkeypatch.setattr(install, "run_pip", pip)
    wheel = make_wheel(tmp_path, "inst_yes")
    done = invoke("install", str(wheel), answer="y\n")
    assert done.exit_code == 0, done.output
    assert calls[0][-1] == str(wheel)
    entry = Registry.read(home).plugins["inst_yes"]
    assert entry.granted == {"camera": True} and not entry.isolated


def test_what_can_not_be_installed_is_a_sentence(tmp_path, home):
    (tmp_path / "bad.whl").write_bytes(b"no zip")
    with pytest.raises(ManifestError, match="is not a wheel"):
        install.look_at(str(tmp_path / "bad.whl"), tmp_path)
    with pytest.raises(ManifestError, match="holds no plugin"):
        install.look_at(str(tmp_path), tmp_path)
    for missing in (str(tmp_path / "not-there"), "not-there.whl"):
        with pytest.raises(BadInput, match="no folder and no wheel"):
            install.look_at(missing, tmp_path)
    with pytest.raises(BadInput, match="Clone it"):
        install.look_at("git+https://example.org/x.git", tmp_path)
    folder = write_plugin(tmp_path / "bare", "inst_bare", BODY, MANIFEST)
    with pytest.raises(BadInput, match="no pyproject"):
        install.look_at(str(folder), tmp_path)
    old = install.look_at(str(make_wheel(tmp_path, "inst_old", omni_api=">=7")), tmp_path)
    with pytest.raises(PluginError, match="written for the plugin interface >=7"):
        install.check_candidate(old, [])


def test_pips_failure_is_told_in_one_sentence():
    with pytest.raises(PluginError, match="pip could not do it"):
        install.run_pip(sys.executable, "install", "--no-index", "there-is-no-such-plugin-here")
    with pytest.raises(PluginError, match=r"No matching distribution found for there-is-none\. Ask somebody\."):
        install.run_pip(sys.executable, "download", "--no-index", "there-is-none", remedy="Ask somebody.")


def test_what_pip_does_is_told_while_it_does_it(tmp_path):
    said = []
    wheel = make_wheel(tmp_path, "inst_said")
    install.run_pip(
        sys.executable, "install", "--no-deps", "--no-index", "--find-links", str(wheel.parent), "--target",
        str(tmp_path / "site"), "omni-inst-said", say=said.append,
    )  # fmt: skip
    assert said == ["fetching omni_inst_said", "installing 1 package"]


async def test_a_plugin_that_needs_an_environment_is_refused_without_one(tmp_path):
    folder = write_plugin(tmp_path, "inst_env", BODY, OWN, isolation="process")
    host = Host(None, None, tmp_path / "data", only=["inst_env"], sources=[folder])
    await host.start()
    record = next(one for one in host.plugins() if one.id == "inst_env")
    await host.stop()
    assert record.state == "refused" and "omni plugin install" in record.reason


@pytest.mark.slow
async def test_an_environment_of_its_own_brings_an_older_numpy(tmp_path, home):
    wheel = make_wheel(tmp_path, "inst_own", OWN, isolation="process")
    done = invoke("install", str(wheel), "--yes")
    assert done.exit_code == 0, (done.output, done.exception)
    registry = Registry.read(home)
    assert registry.plugins["inst_own"].environment
    found = [one for one in discover((), registry.environments()) if one.id == "inst_own"]
    host = Host(None, None, home, only=["inst_own"], found=found)
    await host.start()
    try:
        assert host.plugins()[0].state == "loaded", host.plugins()[0].reason
        assert (await host.get(Embedder).embed_text(["x"])).tolist() == [[1.0, 26.0]]
    finally:
        await host.stop()
    done = invoke("remove", "inst_own", "--yes")
    assert done.exit_code == 0, (done.output, done.exception)
    assert not (home / "environments/inst_own").exists()
    assert "inst_own" not in Registry.read(home).plugins


def test_the_kernel_in_an_environment_brings_nothing_else_along(tmp_path):
    install.put_kernel(tmp_path)
    code = f"import site; site.addsitedir({str(tmp_path)!r}); import omni; print(omni.__file__)"
    done = subprocess.run([sys.executable, "-S", "-c", code], capture_output=True, text=True, check=True, cwd=tmp_path)
    assert str(tmp_path) in done.stdout
    assert sorted(entry.name for entry in (tmp_path / "omni_kernel").iterdir()) == ["omni"]
