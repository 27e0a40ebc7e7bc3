"""What `make dist` builds: complete, acceptable to a package index, and enough to run Omni away from the checkout."""

from __future__ import annotations

import importlib.util
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import tarfile
import tomllib
import urllib.error
import urllib.request
import zipfile
from email.parser import HeaderParser
from pathlib import Path

import pytest
from packaging.metadata import Metadata

ROOT = Path(__file__).resolve().parent.parent


def members() -> list[Path]:
    folders = [ROOT, ROOT / "memory", ROOT / "tools", *sorted((ROOT / "plugins").iterdir())]
    return [folder for folder in folders if (folder / "pyproject.toml").is_file()]


def project(folder: Path) -> dict:
    return tomllib.loads((folder / "pyproject.toml").read_text(encoding="utf-8"))["project"]


def package_of(folder: Path) -> Path:
    (package,) = folder.glob("omni" if folder == ROOT else "omni_*/plugin.toml")
    return package if folder == ROOT else package.parent


def commands_of_plugins() -> list[str]:
    manifests = [package_of(folder) / "plugin.toml" for folder in members()[1:]]
    return [
        command["name"]
        for manifest in manifests
        for command in tomllib.loads(manifest.read_text(encoding="utf-8")).get("commands", ())
    ]


each = pytest.mark.parametrize("folder", members(), ids=lambda folder: folder.name)


def test_versions_move_together():
    spec = importlib.util.spec_from_file_location("version_script", ROOT / "scripts/version.py")
    script = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(script)
    found = {str(path.relative_to(ROOT)): script.version_in(path) for path in script.places()}
    assert len(found) > 10 and len(set(found.values())) == 1, found
    assert re.fullmatch(r"\d+\.\d+\.\d+.*", next(iter(found.values())))


def test_one_command_sets_them_all(tmp_path):
    for folder in ("scripts", "omni", "plugins/speech/omni_speech"):
        (tmp_path / folder).mkdir(parents=True)
    for name in ("scripts/version.py", "omni/__init__.py", "plugins/speech/pyproject.toml",
                 "plugins/speech/omni_speech/plugin.toml"):  # fmt: skip
        shutil.copy(ROOT / name, tmp_path / name)
    command = [sys.executable, tmp_path / "scripts/version.py"]
    done = subprocess.run([*command, "7.8.9"], capture_output=True, text=True, timeout=60)
    assert done.stdout.count("7.8.9") == 3
    assert 'version = "7.8.9"' in (tmp_path / "plugins/speech/omni_speech/plugin.toml").read_text()
    assert '"onnxruntime>=1.19"' in (tmp_path / "plugins/speech/pyproject.toml").read_text()
    wrong = subprocess.run([*command, "next"], capture_output=True, text=True, timeout=60)
    assert wrong.returncode == 2 and "is not a version" in wrong.stderr


@each
def test_a_member_says_what_an_index_shows(folder):
    about = project(folder)
    assert about["license"] == "Apache-2.0" and about["requires-python"] == ">=3.11"
    assert 10 < len(about["description"]) < 512 and "\n" not in about["description"]
    assert any(line.startswith("Development Status") for line in about["classifiers"])
    assert len((folder / about["readme"]).read_text(encoding="utf-8")) > 400


def test_all_members_are_in_the_extra_that_brings_them():
    names = {project(folder)["name"] for folder in members()} - {"omni-assistant"}
    assert set(project(ROOT)["optional-dependencies"]["all"]) == names


# --- built and installed ----------------------------------------------------------------------------


@pytest.fixture(scope="module")
def built(tmp_path_factory) -> Path:
    """sdist, and the wheel made from that sdist, of every member: built in a copy of the sources."""
    source, dist = tmp_path_factory.mktemp("source"), tmp_path_factory.mktemp("dist")
    ignore = shutil.ignore_patterns("__pycache__", "*.egg-info", "build", "dist")
    for name in ("omni", "config", "memory", "tools", "plugins"):
        shutil.copytree(ROOT / name, source / name, ignore=ignore)
    for name in ("pyproject.toml", "setup.py", "MANIFEST.in", "LICENSE", "README.md"):
        shutil.copy(ROOT / name, source)
    for folder in members():
        command = [sys.executable, "-m", "build", "--no-isolation", "--outdir", dist, source / folder.relative_to(ROOT)]
        done = subprocess.run(command, capture_output=True, text=True, timeout=280)
        assert done.returncode == 0, f"{folder.name}: {(done.stdout + done.stderr)[-1500:]}"
    return dist


def wheel_of(dist: Path, folder: Path) -> Path:
    (wheel,) = dist.glob(f"{project(folder)['name'].replace('-', '_')}-*.whl")
    return wheel


@pytest.mark.slow
@each
def test_nothing_is_missing_in_wheel_and_sdist(built, folder):
    package = package_of(folder)
    files = {
        path.relative_to(folder).as_posix()
        for path in package.rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }
    with zipfile.ZipFile(wheel_of(built, folder)) as wheel:
        names = set(wheel.namelist())
    assert not files - names
    assert not [
        name for name in names if name.startswith(("tests/", f"{package.name}/tests/")) or "__pycache__" in name
    ]
    (sdist,) = built.glob(f"{project(folder)['name'].replace('-', '_')}-*.tar.gz")
    with tarfile.open(sdist) as archive:
        packed = {name.partition("/")[2] for name in archive.getnames()}
    assert not files - packed


@pytest.mark.slow
@each
def test_an_index_would_accept_it(built, folder):
    with zipfile.ZipFile(wheel_of(built, folder)) as wheel:
        (name,) = [name for name in wheel.namelist() if name.endswith(".dist-info/METADATA")]
        text = wheel.read(name)
    metadata = Metadata.from_email(text, validate=True)
    assert metadata.license_expression == "Apache-2.0" and metadata.summary
    assert metadata.description_content_type.startswith("text/markdown") and len(metadata.description) > 400
    assert set(metadata.provides_extra or ()) == set(project(folder).get("optional-dependencies", ()))
    direct = [one for one in HeaderParser().parsestr(text.decode()).get_all("Requires-Dist", []) if " @ " in one]
    assert not direct, "an index refuses what is asked for by address"


@pytest.fixture(scope="module")
def installed(built, tmp_path_factory) -> Path:
    """The wheels in an environment of their own, away from the checkout; what they depend on is this one's.

    That folder is on the path without its `.pth` files, so nothing of the checkout can be imported.
    """
    folder = tmp_path_factory.mktemp("installed")
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", folder / "venv"], check=True, timeout=120)
    (site,) = (folder / "venv").glob("lib/python*/site-packages")
    python = folder / "venv/bin/python"
    pip = [sys.executable, "-m", "pip", "--python", python, "install", "-q", "--no-deps", "--no-index"]
    done = subprocess.run([*pip, *built.glob("*.whl")], capture_output=True, text=True, timeout=280)
    assert done.returncode == 0, done.stderr
    (site / "dependencies.pth").write_text("".join(f"{p}\n" for p in sys.path if p.endswith("site-packages")))
    return folder


def omni(installed: Path, *arguments: str, timeout: float = 120) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [installed / "venv/bin/omni", *arguments], cwd=installed, env=clean(installed),
        capture_output=True, text=True, timeout=timeout,
    )  # fmt: skip


def clean(installed: Path) -> dict[str, str]:
    kept = {key: value for key, value in os.environ.items() if not key.startswith(("OMNI", "PYTHON"))}
    return {**kept, "OMNI_HOME": str(installed / "home"), "NO_COLOR": "1", "PYTHONUNBUFFERED": "1"}


@pytest.mark.slow
def test_the_commands_work_away_from_the_checkout(installed):
    code = "import omni, omni_speech; print(omni.__file__, omni_speech.__file__)"
    where = subprocess.run([installed / "venv/bin/python", "-c", code], capture_output=True, text=True, cwd=installed)
    assert where.stdout.count(str(installed)) == 2 and str(ROOT) not in where.stdout
    help_text = omni(installed, "--help").stdout
    assert "doctor" in help_text and all(name in help_text for name in commands_of_plugins())
    versions = omni(installed, "--version").stdout.splitlines()
    assert {line.split()[0] for line in versions} == {"omni"} | {project(one)["name"] for one in members()[1:]}
    assert len({line.split()[1] for line in versions}) == 1
    assert re.search(r"server\.port.*8765", omni(installed, "config", "show").stdout)
    assert len(json.loads(omni(installed, "models", "list", "--json").stdout)) > 5
    assert omni(installed, "plugin", "new", "Shipped", "--kind", "panel").returncode == 0
    assert (installed / "omni-shipped/.github/workflows/test.yml").is_file()


@pytest.mark.slow
def test_pipx_installs_it(built, tmp_path):
    """`pipx install omni-assistant`: what it depends on comes from the package index, as it would for anybody."""
    pytest.importorskip("pipx")
    places = {"PIPX_HOME": tmp_path / "pipx", "PIPX_BIN_DIR": tmp_path / "bin", "PIPX_MAN_DIR": tmp_path / "man"}
    environment = clean(tmp_path) | {key: str(value) for key, value in places.items()}
    command = [sys.executable, "-m", "pipx", "install", "--skip-maintenance", wheel_of(built, ROOT)]
    done = subprocess.run(command, env=environment, cwd=tmp_path, capture_output=True, text=True, timeout=280)
    if done.returncode and re.search(r"Could not find a version|Connection|Temporary failure", done.stderr):
        pytest.skip(f"the package index can't be reached: {done.stderr.strip().splitlines()[-1][:150]}")
    assert done.returncode == 0, done.stdout + done.stderr

    def run(*arguments: str) -> str:
        command = [tmp_path / "bin/omni", *arguments]
        done = subprocess.run(command, env=environment, cwd=tmp_path, capture_output=True, text=True, timeout=120)
        assert "Traceback" not in done.stderr, done.stderr
        return done.stdout

    assert run("--version") == f"omni {wheel_of(built, ROOT).name.split('-')[1]}\n"
    assert "No plugins are installed" in run("plugin", "list")
    assert re.search(r"^ok +python", run("doctor"), re.MULTILINE)
    run("plugin", "new", "Word counter")
    assert "word_counter" in run("plugin", "list", "--plugin", "omni-word-counter")


@pytest.mark.slow
def test_every_plugin_is_found_and_every_command_and_plugin_loads(installed):
    records = {record["id"]: record for record in json.loads(omni(installed, "plugin", "list", "--json").stdout)}
    assert {record["state"] for record in records.values()} == {"found"}
    assert len(records) == len(members()) - 1
    code = """
import asyncio, importlib, json
from omni.catalogue.store import ModelStore
from omni.config import load_config
from omni.host.discovery import discover
from omni.host.host import Host

for found in discover():
    for command in found.manifest.commands:
        module, _, attribute = command.target.partition(":")
        getattr(importlib.import_module(module), attribute)
    for panel in found.manifest.panels:
        assert (found.folder / "static").is_dir() or list(found.folder.glob("**/static")), found.id

async def main():
    config = load_config()
    host = Host(config, ModelStore.from_config(config), config.data_dir)
    await host.start()
    print(json.dumps({record.id: [record.state, record.reason] for record in host.plugins()}))
    await host.stop()

asyncio.run(main())
"""
    python = installed / "venv/bin/python"
    done = subprocess.run(
        [python, "-c", code], capture_output=True, text=True, timeout=280, cwd=installed, env=clean(installed)
    )
    assert done.returncode == 0, done.stderr[-2000:]
    states = json.loads(done.stdout.splitlines()[-1])
    assert {plugin: why for plugin, why in states.items() if why[0] not in ("loaded", "ready")} == {}


@pytest.mark.real
@pytest.mark.slow
def test_the_conversation_is_shown_from_the_wheels(installed):
    from omni.catalogue.store import ModelStore
    from omni.config import default_models_dir, load_config

    plugins, store = ("speech", "language", "tools"), ModelStore.from_config(load_config())
    wanted = [tomllib.loads((package_of(folder) / "plugin.toml").read_text()) for folder in members()[1:]]
    models = {model for one in wanted if one["id"] in plugins for model in one.get("models", {}).get("required", ())}
    if missing := [model for model in models if store.state(model) != "installed"]:
        pytest.skip(f"the models {', '.join(missing)} are not on this machine (`make run` fetches them)")
    environment = clean(installed) | {"OMNI__MODELS__DIR": str(default_models_dir()), "OMNI__MODELS__FETCH": "false"}
    command = [installed / "venv/bin/omni", "demo", "--only", ",".join(plugins), "--json", "--out", "scene"]
    done = subprocess.run(command, cwd=installed, env=environment, capture_output=True, text=True, timeout=280)
    assert done.returncode == 0, done.stderr[-2000:]
    first, second = json.loads(done.stdout.splitlines()[-1])["turns"]
    assert "sky" in first["heard_as"].lower() and first["cut"], "the first answer is interrupted"
    assert "8.5" in second["heard"] and not second["cut"]
    assert (installed / "scene/reply.wav").stat().st_size > 100_000


@pytest.mark.slow
def test_the_page_is_served_with_every_file(installed):
    command = [installed / "venv/bin/omni", "run", "--no-plugins", "--port", "0"]
    process = subprocess.Popen(
        command, cwd=installed, env=clean(installed), stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    )
    try:
        url = next(line.split()[-1] for line in process.stdout if "Omni is at" in line)
        base = url.split("/#")[0]
        static = ROOT / "omni/server/static"
        for path in static.rglob("*"):
            if path.is_file() and path.name != "index.html":
                with urllib.request.urlopen(f"{base}/static/{path.relative_to(static).as_posix()}", timeout=20) as got:
                    assert got.read() == path.read_bytes(), path.name
        with urllib.request.urlopen(f"{base}/", timeout=20) as got:
            assert b"<html" in got.read()
        with pytest.raises(urllib.error.HTTPError):
            urllib.request.urlopen(f"{base}/static/../pyproject.toml", timeout=20)
        process.send_signal(signal.SIGINT)
        assert "Stopped." in process.communicate(timeout=60)[0]
    finally:
        process.kill()
        process.wait()
