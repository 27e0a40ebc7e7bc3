"""Installed as a wheel, away from the checkout, Omni finds its settings and its catalogue."""

import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent


@pytest.mark.slow
def test_the_wheel_carries_the_defaults_the_profiles_and_the_catalogue(tmp_path):
    source = tmp_path / "source"
    source.mkdir()
    ignore = shutil.ignore_patterns("__pycache__", "*.egg-info")
    for name in ("omni", "config"):
        shutil.copytree(ROOT / name, source / name, ignore=ignore)
    for name in ("pyproject.toml", "setup.py", "MANIFEST.in", "LICENSE", "README.md"):
        if (ROOT / name).is_file():
            shutil.copy(ROOT / name, source)
    command = [sys.executable, "-m", "pip", "wheel", "-q", "--no-deps", "--no-build-isolation", "--no-index"]
    done = subprocess.run([*command, "-w", tmp_path, source], capture_output=True, text=True, timeout=200)
    assert done.returncode == 0, done.stderr[-2000:]
    [wheel] = tmp_path.glob("omni_assistant-*.whl")
    site = tmp_path / "site"
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(site)
    assert (site / "omni/defaults/profiles/small.toml").is_file() and (site / "omni/server/static").is_dir()
    code = (
        f"import sys; sys.path.insert(0, {str(site)!r})\n"
        "import omni.config as c; from omni.catalogue import Catalogue\n"
        "print(c.config_root()); print(c.load_config(profile='small', environ={}).get('server.port'))\n"
        "print(len(list(Catalogue.load(c.config_root() / 'models.toml'))))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, cwd=tmp_path)
    root, port, models = done.stdout.split()
    assert Path(root) == site / "omni/defaults" and port == "8765" and int(models) > 5
