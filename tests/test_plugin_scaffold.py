"""`omni plugin new`: each kind is a project that passes its own tests, and a newer template can be applied to it."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from omni.errors import BadInput, ManifestError
from omni.host import scaffold
from omni.host.contract import check
from omni.host.contract.writing import install_plugin
from omni.host.discovery import in_folder
from omni.host.manifest import read_manifest
from omni.host.scaffold import KINDS, answers_for, create, update

PYTHON = [sys.executable, "-m"]


def run(*arguments, cwd, **environment):
    done = subprocess.run(
        [*map(str, arguments)], cwd=cwd, capture_output=True, text=True, timeout=280, env={**os.environ, **environment}
    )
    return done


@pytest.fixture(scope="module")
def projects(tmp_path_factory):
    """One project of each kind, as `omni plugin new` wrote it."""
    where = tmp_path_factory.mktemp("new")
    return {kind: create(f"My {kind}", kind, where) for kind in KINDS}


@pytest.mark.parametrize("kind", KINDS)
async def test_a_new_plugin_is_found_and_keeps_the_light_rules(kind, projects):
    (found,) = in_folder(projects[kind])
    assert not found.refusal and found.id == f"my_{kind}"
    rules = ["manifest_is_complete", "registers_what_it_announces", "config_round_trips"]
    outcomes = await check(projects[kind], rules)
    assert [outcome.result for outcome in outcomes] == ["kept"] * len(rules), outcomes


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS)
def test_a_new_plugin_passes_its_own_tests_unchanged(kind, projects):
    done = run(*PYTHON, "pytest", "-q", "-p", "no:cacheprovider", cwd=projects[kind])
    assert done.returncode == 0, done.stdout[-3000:]
    assert " passed" in done.stdout and "warning" not in done.stdout


def test_all_kinds_show_up_in_the_list(projects, tmp_path):
    arguments = [part for project in projects.values() for part in ("--plugin", project)]
    done = run(*PYTHON, "omni.cli.main", "plugin", "list", *arguments, cwd=tmp_path, OMNI_HOME=str(tmp_path / "home"))
    lines = {line.split()[0]: line for line in done.stdout.splitlines()}
    assert all(" found " in lines[f"my_{kind}"] for kind in KINDS), done.stdout + done.stderr


@pytest.mark.slow
def test_a_new_plugin_installs_into_a_fresh_environment(tmp_path):
    """pip builds and installs it; the packages it depends on are those of this environment."""
    done = run(*PYTHON, "omni.cli.main", "plugin", "new", "Word counter", "--into", tmp_path, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    project, fresh = tmp_path / "omni-word-counter", tmp_path / "venv"
    assert run(*PYTHON, "venv", "--without-pip", fresh, cwd=tmp_path).returncode == 0
    python = fresh / "bin/python"
    site = next(fresh.glob("lib/python*/site-packages"))
    borrowed = [path for path in sys.path if path.endswith("site-packages")]
    (site / "borrowed.pth").write_text("".join(f"import site; site.addsitedir({path!r})\n" for path in borrowed))
    options = ["--no-deps", "--no-build-isolation", "--no-index", "--disable-pip-version-check", "-q"]
    done = run(python, "-m", "pip", "install", *options, project, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert (site / "omni_word_counter/plugin.toml").is_file()
    home = {"OMNI_HOME": str(tmp_path / "home")}
    done = run(python, "-m", "omni.cli.main", "plugin", "list", cwd=tmp_path, **home)
    assert "word_counter" in done.stdout and "Counts words." in done.stdout, done.stdout + done.stderr
    done = run(python, "-m", "pytest", "-q", "-p", "no:cacheprovider", cwd=project)
    assert done.returncode == 0, done.stdout[-3000:]


def test_names_become_ids_and_packages():
    answers = answers_for("Omni word-counter 2", "tool")
    assert (answers["id"], answers["package"]) == ("word_counter_2", "omni_word_counter_2")
    assert answers["distribution"] == "omni-word-counter-2"


@pytest.mark.parametrize("name", ["", "2 many", "../up", 'quote " mark', "x" * 60, "{{ jinja }} x"])
def test_a_name_that_cannot_be_one_is_refused(name, tmp_path):
    with pytest.raises(BadInput):
        create(name, "tool", tmp_path)
    assert not list(tmp_path.iterdir())


def test_an_unknown_kind_is_refused_with_the_known_ones(tmp_path):
    with pytest.raises(BadInput, match="transcriber, synthesizer"):
        create("Name", "walrus", tmp_path)


def test_what_is_there_is_never_written_over(tmp_path):
    project = create("Mine", "tool", tmp_path)
    with pytest.raises(BadInput, match="there already"):
        create("Mine", "stage", tmp_path)
    assert read_manifest(project / "omni_mine").tools


def test_the_template_leaves_no_sign_of_itself(projects):
    for project in projects.values():
        for path in project.rglob("*"):
            if path.is_file() and path.suffix not in (".pyc", ".yml", ".json"):
                text = path.read_text()
                assert "{%" not in text and "{{" not in text and str(scaffold.TEMPLATE) not in text, path


@pytest.fixture
def newer(tmp_path, monkeypatch):
    """A template in which the CI, the licence line of the README and the manifest's budget have changed."""
    template = tmp_path / "template"
    shutil.copytree(scaffold.TEMPLATE, template)

    def become():
        for path, old, now in (
            (".github/workflows/test.yml.jinja", '"3.12"]', '"3.12", "3.13"]'),
            ("README.md.jinja", "## Licence", "## The licence"),
            ("{{ package }}/plugin.toml.jinja", "ram_mb = 50", "ram_mb = 60"),
        ):
            file = template / "project" / path
            assert old in file.read_text()
            file.write_text(file.read_text().replace(old, now))
        (template / "project/NEWS.md.jinja").write_text("# News of {{ name }}\n")
        monkeypatch.setattr(scaffold, "TEMPLATE", template)

    return become


def test_a_newer_template_is_merged_with_the_authors_changes(tmp_path, newer):
    project = create("Merged", "tool", tmp_path)
    readme, plugin = project / "README.md", project / "omni_merged/plugin.py"
    readme.write_text(readme.read_text().replace("# Merged\n", "# Merged, and mine\n"))
    plugin.write_text("# mine alone\n" + plugin.read_text())
    assert update(project) == []
    newer()
    changes = {change.path: change.what for change in update(project)}
    assert changes == {
        ".github/workflows/test.yml": "updated",
        "NEWS.md": "added",
        "README.md": "merged",
        "omni_merged/plugin.toml": "updated",
    }
    assert readme.read_text().startswith("# Merged, and mine") and "## The licence" in readme.read_text()
    assert plugin.read_text().startswith("# mine alone")
    assert read_manifest(project / "omni_merged").resources.ram_mb == 60
    assert update(project) == []


def test_changes_in_one_place_stand_beside_each_other(tmp_path, newer):
    project = create("Clash", "tool", tmp_path)
    manifest = project / "omni_clash/plugin.toml"
    manifest.write_text(manifest.read_text().replace("ram_mb = 50", "ram_mb = 900"))
    newer()
    assert {change.path: change.what for change in update(project)}["omni_clash/plugin.toml"] == "conflict"
    text = manifest.read_text()
    assert "<<<<<<< yours\nram_mb = 900" in text and "ram_mb = 60\n>>>>>>> the template now" in text


def test_a_file_the_author_removed_stays_away(tmp_path, newer):
    project = create("Removed", "tool", tmp_path)
    shutil.rmtree(project / ".github")
    newer()
    update(project)
    assert not (project / ".github").exists()


@pytest.mark.parametrize("memory", [None, "no json", "[]", '{"answers": {}, "files": []}'])
def test_a_project_without_its_memory_is_refused(tmp_path, memory):
    if memory is not None:
        (tmp_path / scaffold.MEMORY).write_text(memory)
    with pytest.raises(ManifestError):
        update(tmp_path)


def test_the_memory_holds_no_path_of_this_machine(projects):
    for project in projects.values():
        memory = (project / scaffold.MEMORY).read_text()
        assert str(Path.home()) not in memory and str(project) not in memory
        assert set(json.loads(memory)) == {"omni", "answers", "files"}


def test_an_installed_plugin_of_the_same_id_is_replaced_by_the_source(projects, tmp_path):
    install_plugin(tmp_path, "my_tool", "raise SystemExit('not this one')\n")
    home = {"OMNI_HOME": str(tmp_path / "home"), "PYTHONPATH": str(tmp_path)}
    command = [*PYTHON, "omni.cli.main", "plugin", "info", "my_tool", "--plugin", projects["tool"]]
    assert "My tool (my_tool)" in run(*command, cwd=tmp_path, **home).stdout
