"""Files under granted roots and nowhere else; code by what it does; attachments."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from omni_tools.attachments import document_text, read_attachment
from omni_tools.code import nearest, words
from omni_tools.files import FileTools, Roots
from omni_tools.naming import read_folder, read_name, read_path

from omni.errors import BadInput, Refused
from omni.events import Attachment
from omni.session import Session
from omni.testing import FakeHost
from omni.tools import ToolContext


@pytest.fixture
def home(tmp_path: Path) -> Path:
    root = tmp_path / "root"
    (root / "sub").mkdir(parents=True)
    (root / "notes.txt").write_text("buy milk")
    (root / "sub" / "Recipe Cake.md").write_text("flour, eggs")
    (root / "picture.bin").write_bytes(b"\x89\0\0\1")
    (tmp_path / "secret.txt").write_text("the password")
    return root


def tools_for(root: Path) -> FileTools:
    return FileTools(Roots([str(root)]))


async def test_files_are_listed_read_and_found(home: Path) -> None:
    tools = tools_for(home)
    listed = await tools.list_files()
    assert listed.value["entries"] == ["sub/", "notes.txt", "picture.bin"] and not listed.trusted
    read = await tools.read_file("notes.txt")
    assert read.value["text"] == "buy milk" and not read.trusted
    assert (await tools.read_file("recipe cake")).value["text"] == "flour, eggs"
    found = await tools.find_files("recipe")
    assert found.value == [str(home / "sub" / "Recipe Cake.md")]
    assert "no file called" in (await tools.find_files("unicorn")).say


@pytest.mark.parametrize(
    "path",
    ["../secret.txt", "sub/../../secret.txt", "{parent}/secret.txt", "/etc/passwd", "~/.ssh/id_rsa", "..\\secret.txt"],
)
async def test_a_path_out_of_the_root_is_refused(home: Path, path: str) -> None:
    with pytest.raises((Refused, BadInput)) as told:
        await tools_for(home).read_file(path.format(parent=home.parent))
    assert "password" not in str(told.value)


async def test_a_link_out_of_the_root_is_refused(home: Path) -> None:
    os.symlink(home.parent / "secret.txt", home / "innocent.txt")
    os.symlink(home.parent, home / "up")
    for path in ("innocent.txt", "up/secret.txt"):
        with pytest.raises((Refused, BadInput)):
            await tools_for(home).read_file(path)
    with pytest.raises((Refused, BadInput)):
        await tools_for(home).list_files("up")
    assert (await tools_for(home).find_files("secret")).value == []


async def test_without_a_granted_folder_nothing_is_read() -> None:
    with pytest.raises(Refused, match="any folder"):
        await FileTools(Roots([])).list_files()


@pytest.mark.parametrize("path", ["picture.bin", "a\0b", "x" * 2000, "nowhere.txt"])
async def test_what_can_not_be_read_is_a_sentence(home: Path, path: str) -> None:
    with pytest.raises(BadInput):
        await tools_for(home).read_file(path)


async def test_a_long_file_is_cut(home: Path) -> None:
    (home / "long.txt").write_text("line\n" * 200_000)
    assert (await tools_for(home).read_file("long.txt")).value["text"].endswith("(the file goes on)")


# --- code ---------------------------------------------------------------------------------------------


async def test_code_is_found_by_what_it_does(home: Path) -> None:
    (home / "stats.py").write_text(
        "def running_mean(values, width):\n    total = sum(values[:width])\n    return total / width\n\n\n"
        "def parse_config(path):\n    return open(path).read()\n"
    )
    (home / "login.ts").write_text("export async function checkPassword(user: string) {\n  return hash(user);\n}\n")
    roots = Roots([str(home)])
    assert nearest("explain the function that computes the running mean", roots)[0].name == "running_mean"
    hit = nearest("where do we check the password", roots)[0]
    assert (hit.name, hit.line) == ("checkPassword", 1)
    assert nearest("the quantum flux capacitor", roots) == [] == nearest("", roots)
    told = await FileTools(roots).explain_code("the running mean")
    assert not told.trusted and told.evidence[0]["line"] == 1


def test_names_are_split_into_words() -> None:
    assert words("runningMean running_mean") == words("running mean running mean")


# --- attachments ----------------------------------------------------------------------------------------


async def test_an_attached_document_is_read_and_untrusted() -> None:
    session = Session(FakeHost())  # type: ignore[arg-type]
    session.keep("a1", b"Dear reader, the deadline is Friday.")
    attached = Attachment(kind="document", ref="a1", name="letter.txt")
    result = await read_attachment(ToolContext(session, 1, 0, "what does it say", (attached,)))
    assert "Friday" in result.value["text"] and not result.trusted
    assert "no document" in (await read_attachment(ToolContext(session))).say


@pytest.mark.parametrize("data", [b"", b"%PDF-1.7 garbage", b"GIF89a\0\0\0"])
def test_a_broken_document_is_a_sentence(data: bytes) -> None:
    with pytest.raises(BadInput):
        document_text(data, "thing.pdf")


@pytest.mark.parametrize(
    ("words", "path"),
    [
        ("open minutes.md and read it", "minutes.md"),
        ("what is written in the file packing list dot txt", "packing list.txt"),
        ("show me the file /etc/fstab", "/etc/fstab"),
        ("read the file called diary to me", "diary"),
        ("what does the attached file say", None),
        ("read the file", None),
        ("compare a.py2 with notes.md and plan.md", None),
        ("open the page example.org", None),
        ("see you at 5 p.m", None),
    ],
)
def test_the_file_to_read_is_named_in_the_words(words: str, path: str | None) -> None:
    assert read_path(words) == ({"path": path} if path else None)


@pytest.mark.parametrize(
    ("words", "read"),
    [
        ("list the recipes folder", {"folder": "recipes"}),
        ("which files are in ~/work/plans?", {"folder": "~/work/plans"}),
        ("look into the folder called bills", {"folder": "bills"}),
        ("what is on my desktop", {"folder": "desktop"}),
        ("how many files are in this directory", {}),
        ("what files do I have", None),
    ],
)
def test_the_folder_to_list_is_named_in_the_words(words: str, read: dict[str, str] | None) -> None:
    assert read_folder(words) == read


@pytest.mark.parametrize(
    ("words", "name"),
    [
        ("is there a file with salary in its name", "salary"),
        ("find draft_2.odt on this computer", "draft_2.odt"),
        ("search for files whose name contains garden", "garden"),
        ("find the file called garden plan", "garden plan"),
        ("where is the file with our address list", "address list"),
        ("where did I put that thing", None),
    ],
)
def test_the_file_to_find_is_named_in_the_words(words: str, name: str | None) -> None:
    assert read_name(words) == ({"name": name} if name else None)
