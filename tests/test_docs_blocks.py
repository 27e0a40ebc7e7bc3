"""Every code block of the documentation for plugin authors is run, and its pages say what the code says.

A block with `title="FILE"` is written to that file. A python block is run. In a console block every line that
begins with `$` is run, and what follows has to be in its output; `...` stands for anything.
"""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
import tomllib
from dataclasses import dataclass
from pathlib import Path

import pytest

from omni.host.hookspecs import Panel, hookimpl
from omni.host.manifest import Manifest, parse_manifest

ROOT = Path(__file__).resolve().parent.parent
DOCS = ROOT / "docs"
PAGES = sorted([*DOCS.glob("plugins/*.md"), DOCS / "panels.md", DOCS / "isolation.md"])
RUN_HERE = {"tutorial.md", "panels.md"}
RUN_ELSEWHERE = {"own_environment.md"}  # test_plugin_own_environment.py


@dataclass(frozen=True)
class Block:
    language: str
    title: str
    text: str
    line: int


def blocks(page: Path) -> list[Block]:
    found, text = [], page.read_text(encoding="utf-8")
    for match in re.finditer(r"^```(\w*)(?: title=\"([^\"]+)\")?\n(.*?)^```$", text, re.M | re.S):
        found.append(Block(match[1], match[2] or "", match[3], text.count("\n", 0, match.start()) + 1))
    assert text.count("```") == 2 * len(found), f"{page.name} has a code block this test can't read"
    return found


def test_every_block_of_the_documentation_is_run_somewhere():
    assert [page.name for page in PAGES if blocks(page) and page.name not in RUN_HERE | RUN_ELSEWHERE] == []


def test_the_reference_says_what_the_code_says():
    command = [sys.executable, "scripts/plugin_reference.py", "--check"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr


def test_links_lead_somewhere():
    for page in PAGES:
        for target in re.findall(r"\]\(([^)#]+)(?:#[^)]*)?\)", page.read_text(encoding="utf-8")):
            assert (page.parent / target).exists(), f"{page.name} links to {target}"


def test_the_example_manifest_uses_every_key():
    text = (DOCS / "plugins/example.toml").read_text(encoding="utf-8")
    manifest, data = parse_manifest(text), tomllib.loads(text)
    assert set(data) == set(Manifest.model_fields)
    for key in ("permissions", "resources", "models", "environment"):
        assert set(data[key]) == set(type(getattr(manifest, key)).model_fields)
    for key in ("capabilities", "stages", "tools", "commands", "panels"):
        assert set(data[key][0]) == set(type(getattr(manifest, key)[0]).model_fields), key
    settings = {key for setting in data["config"].values() for key in setting}
    assert settings == set(type(manifest.config["place"]).model_fields)


def test_the_blocks_about_panels():
    """A fragment of a manifest, a hook, and an element of the page."""
    toml, python, script = blocks(DOCS / "panels.md")
    assert tomllib.loads(toml.text)["panels"] == [{"id": "photos", "title": "Photos"}]
    scope = {"hookimpl": hookimpl, "Panel": Panel, "HERE": Path("here"), "ICON": "<svg/>"}
    exec(compile(python.text, "panels.md", "exec"), scope)

    class Plugin:
        async def search(self, params): ...
        async def media(self, name): ...

    (panel,) = scope["omni_panels"](Plugin(), None)
    assert panel.id == "photos" and "search" in panel.handlers
    assert f'"omni-{panel.id}"' in script.text
    known = (ROOT / "omni/server/static/dom.js").read_text()
    for name in re.search(r"import \{ (.*) \} from \"/static/dom.js\"", script.text)[1].split(", "):
        assert f"export function {name}(" in known
    body = script.text.replace('import { h, problem } from "/static/dom.js";', "")
    assert body.count("{") == body.count("}") and body.count("(") == body.count(")")


# --- the tutorial, followed to the letter in an empty folder ---------------------------------------


class Reader:
    """Follows a page in an empty folder, in an environment of its own (whose packages are this one's)."""

    def __init__(self, folder: Path) -> None:
        self.cwd = folder / "empty"
        self.cwd.mkdir()
        venv = folder / "venv"
        subprocess.run([sys.executable, "-m", "venv", "--without-pip", venv], check=True, timeout=120)
        (site,) = venv.glob("lib/python*/site-packages")
        borrowed = [path for path in sys.path if path.endswith("site-packages")]
        (site / "borrowed.pth").write_text("".join(f"import site; site.addsitedir({p!r})\n" for p in borrowed))
        omni = venv / "bin/omni"
        omni.write_text(f"#!{venv}/bin/python\nfrom omni.cli.main import main\nmain()\n")
        omni.chmod(0o755)
        self.environment = {
            **{key: value for key, value in os.environ.items() if not key.startswith(("OMNI", "PYTEST"))},
            "PATH": f"{venv}/bin:{os.environ['PATH']}", "OMNI_HOME": str(folder / "home"), "NO_COLOR": "1",
            "PYTHONDONTWRITEBYTECODE": "1", "OMNI__SERVER__PORT": "0", "PIP_NO_INDEX": "1",
            "PIP_NO_BUILD_ISOLATION": "false", "OMNI__PLUGINS__ALLOW": '["phrase_book"]',
        }  # fmt: skip

    def follow(self, block: Block) -> None:
        if block.title:
            path = self.cwd / block.title
            assert path.parent.is_dir(), f"line {block.line}: there is no folder {path.parent}"
            path.write_text(block.text, encoding="utf-8")
        elif block.language == "python":
            done = self.run([sys.executable.rsplit("/", 1)[1], "-"], block.text)
            assert done.returncode == 0, f"line {block.line}: {done.stderr}"
        elif block.language == "console":
            for command, expected in commands(block.text):
                output = self.type(command)
                assert fits(expected, output), f"line {block.line}: $ {command}\n{output}"
        else:
            raise AssertionError(f"line {block.line}: nobody runs {block.language!r}")

    def run(self, command: list[str], stdin: str = "") -> subprocess.CompletedProcess[str]:
        path = self.environment["PATH"].split(":")[0]
        environment = {**self.environment, "PYTHONPATH": str(self.cwd)}
        return subprocess.run(
            [f"{path}/python", *command[1:]], input=stdin, cwd=self.cwd, env=environment,
            capture_output=True, text=True, timeout=120,
        )  # fmt: skip

    def type(self, command: str) -> str:
        """What a shell says; `cd` is kept, and what never ends is interrupted once it has begun to work."""
        if command.startswith("cd "):
            self.cwd = self.cwd / command[3:]
            return ""
        if command.startswith("omni plugin dev"):
            return self.interrupt(command)
        done = subprocess.run(
            ["/bin/sh", "-c", command], cwd=self.cwd, env=self.environment, capture_output=True, text=True, timeout=280
        )
        assert done.returncode == 0, f"$ {command}\n{done.stdout}{done.stderr}"
        return done.stdout

    def interrupt(self, command: str) -> str:
        process = subprocess.Popen(
            ["/bin/sh", "-c", f"exec {command}"], cwd=self.cwd, env={**self.environment, "PYTHONUNBUFFERED": "1"},
            stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True,
        )  # fmt: skip
        began, output = time.monotonic(), ""
        try:
            for line in process.stdout:
                output += line
                if "Ctrl-C" in line or time.monotonic() - began > 120:
                    break
            process.send_signal(signal.SIGINT)
            return output + process.communicate(timeout=60)[0]
        finally:
            process.kill()
            process.wait()


def commands(text: str) -> list[tuple[str, str]]:
    """(command, expected output) of a console block."""
    found: list[tuple[str, str]] = []
    for line in text.splitlines():
        if line.startswith("$ "):
            found.append((line[2:], ""))
        else:
            found[-1] = (found[-1][0], f"{found[-1][1]}{line}\n")
    return found


def fits(expected: str, output: str) -> bool:
    """Whether the output is what is shown, line by line; `...` stands for anything."""
    pattern = ".*".join(re.escape(part) for part in expected.strip().split("..."))
    return bool(re.match(pattern if expected.strip() else "", output.strip(), re.S))


def test_what_stands_for_anything():
    assert fits("one\n...\nthree...\n", "one\ntwo\nthree and more")
    assert not fits("one\nthree", "one\ntwo\nthree")


@pytest.mark.slow
def test_a_plugin_written_by_following_the_tutorial_works(tmp_path):
    reader = Reader(tmp_path)
    for block in blocks(DOCS / "plugins/tutorial.md"):
        reader.follow(block)
    (site,) = (tmp_path / "venv").glob("lib/python*/site-packages")
    assert (site / "omni_phrase_book/phrases.toml").is_file()
