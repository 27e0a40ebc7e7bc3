"""Writes a new plugin from the template, and brings an older one up to the template of today.

A project keeps what the template wrote (`.omni-template.json`), so a later template is merged with the author's
changes as git merges branches: what only the template changed is taken, what only the author changed is left, and
where both did the two stand beside each other between conflict markers.
"""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from omni import API_VERSION, __version__
from omni.errors import BadInput, ManifestError, OmniError

TEMPLATE = Path(__file__).parent / "template"
MEMORY = ".omni-template.json"

#: What a plugin can add, and what the example of it does.
KINDS = {
    "transcriber": "Hears the tones of a telephone's keys and writes the digits",
    "synthesizer": "Speaks Morse code",
    "chat": "Chats by rules, as ELIZA did",
    "vision": "Tells the colours of an image",
    "embedder": "Embeds texts by hashing their words",
    "tool": "Counts words",
    "stage": "Measures how fast you speak",
    "panel": "Keeps short notes on a page of its own",
}


@dataclass(frozen=True, slots=True)
class Change:
    """What became of one file: "added", "updated", "merged" or "conflict"; "" when it stays as it is."""

    path: str
    what: str


def answers_for(name: str, kind: str) -> dict[str, Any]:
    """What the template asks, from a name such as "Word counter". Raises `BadInput` when there is no id in it."""
    if kind not in KINDS:
        raise BadInput(f"There is no kind {kind!r}.", f"Choose one of {', '.join(KINDS)}.")
    plugin = re.sub(r"[^a-z0-9]+", "_", name.lower()).strip("_").removeprefix("omni_")
    if not re.fullmatch(r"[A-Za-z][A-Za-z0-9_ .,()+-]*", name.strip()) or len(plugin) > 40 or not plugin[:1].isalpha():
        raise BadInput(
            f"{name!r} is no name for a plugin.", "Begin with a letter; 40 letters, digits and spaces at most."
        )
    words = re.split(r"[^A-Za-z0-9]+", name.strip())
    title = name.strip() if " " in name.strip() else plugin.replace("_", " ").capitalize()
    major = int(API_VERSION.split(".")[0])
    return {
        "name": title,
        "id": plugin,
        "kind": kind,
        "package": f"omni_{plugin}",
        "distribution": f"omni-{plugin.replace('_', '-')}",
        "class_name": "".join(word[:1].upper() + word[1:] for word in words if word) + "Plugin",
        "summary": KINDS[kind],
        "omni_api": f">={API_VERSION},<{major + 1}",
        "omni_version": ".".join(__version__.split(".")[:2]),
    }


def create(name: str, kind: str, where: Path) -> Path:
    """Write the project `omni-NAME` into the folder `where` and return its folder.

    Raises `BadInput` for a name or kind that can't be, and when the folder is there and not empty.
    """
    answers = answers_for(name, kind)
    project = Path(where).expanduser() / answers["distribution"]
    if project.exists() and (not project.is_dir() or any(project.iterdir())):
        raise BadInput(f"{project} is there already.", "Choose another name, or `omni plugin update-template` for it.")
    render(answers, project)
    _remember(project, answers, _texts(project))
    return project


def render(answers: dict[str, Any], project: Path) -> None:
    """Write the template of today into a folder."""
    import warnings

    import copier

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        copier.run_copy(str(TEMPLATE), str(project), data=answers, quiet=True, overwrite=True, defaults=True)


def update(project: Path) -> list[Change]:
    """Merge the template of today into a project that `create` wrote. Returns what changed, by file.

    Raises `ManifestError` when the folder remembers no template, `BadInput` when it remembers a kind that is gone.
    """
    project = Path(project).expanduser()
    memory = _recall(project)
    old: dict[str, str] = memory["files"]
    answers = {**memory["answers"], "omni_version": ".".join(__version__.split(".")[:2])}
    if answers.get("kind") not in KINDS:
        raise BadInput(f"The template knows no kind {answers.get('kind')!r} any more.", "Carry on without it.")
    with tempfile.TemporaryDirectory(prefix="omni-template-") as scratch:
        render(answers, Path(scratch, "new"))
        new = _texts(Path(scratch, "new"))
        changes = [_merge(project, path, old.get(path), text, Path(scratch)) for path, text in sorted(new.items())]
    _remember(project, answers, new)
    return [change for change in changes if change.what]


def _merge(project: Path, path: str, base: str | None, text: str, scratch: Path) -> Change:
    """Bring one file up to date. `base` is what the template wrote before, `text` what it writes now."""
    target = project / path
    mine = target.read_text(encoding="utf-8") if target.is_file() else None
    if mine is None and base is None:
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(text, encoding="utf-8")
        return Change(path, "added")
    if mine is None:  # the author threw it away
        return Change(path, "")
    if text in (mine, base):
        return Change(path, "")
    if mine == base:
        target.write_text(text, encoding="utf-8")
        return Change(path, "updated")
    merged, conflict = _three_way(mine, base or "", text, scratch)
    target.write_text(merged, encoding="utf-8")
    return Change(path, "conflict" if conflict else "merged")


def _three_way(mine: str, base: str, theirs: str, scratch: Path) -> tuple[str, bool]:
    """The merge of two changes of one text, and whether they met in one place."""
    if shutil.which("git") is None:
        raise OmniError("git is not installed, which merges your changes with the template's.", "Install git.")
    for name, text in (("mine", mine), ("base", base), ("theirs", theirs)):
        (scratch / name).write_text(text, encoding="utf-8")
    labels = ("-L", "yours", "-L", "the template before", "-L", "the template now")
    command = ["git", "merge-file", "-p", *labels, "mine", "base", "theirs"]
    done = subprocess.run(command, cwd=scratch, capture_output=True, text=True, check=False)
    if done.returncode < 0 or done.returncode > 127:
        raise OmniError(f"git could not merge: {done.stderr.strip()}.", "Mend it and run this again.")
    return done.stdout, done.returncode > 0


def _texts(project: Path) -> dict[str, str]:
    """The files of a project as the template wrote them, by path."""
    files = [path for path in sorted(project.rglob("*")) if path.is_file() and path.name != MEMORY]
    return {path.relative_to(project).as_posix(): path.read_text(encoding="utf-8") for path in files}


def _remember(project: Path, answers: dict[str, Any], files: dict[str, str]) -> None:
    memory = {"omni": __version__, "answers": answers, "files": files}
    (project / MEMORY).write_text(json.dumps(memory, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")


def _recall(project: Path) -> dict[str, Any]:
    path = project / MEMORY
    try:
        memory = json.loads(path.read_text(encoding="utf-8"))
        if not isinstance(memory["answers"], dict) or not isinstance(memory["files"], dict):
            raise TypeError("it has another form")
        return memory
    except FileNotFoundError:
        raise ManifestError(f"{project} holds no {MEMORY}.", "Only what `omni plugin new` wrote is updated.") from None
    except (ValueError, KeyError, TypeError, OSError) as error:
        raise ManifestError(f"{path} can't be read: {error}.", "Take it back from your version control.") from None
