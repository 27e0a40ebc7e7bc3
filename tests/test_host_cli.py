"""`omni plugin list|info|enable|disable`: from manifests alone, quickly."""

from __future__ import annotations

import json
import os
import resource
import subprocess
import sys

import pytest

from omni.host.contract.writing import install_plugin

LOUD = "raise SystemExit('a listed plugin must not be imported')\n"
CAMERA = "[permissions]\ncamera = true\nnetwork = ['example.org']\n"


@pytest.fixture
def omni(tmp_path):
    """Runs `omni plugin ...` with a site folder of installed plugins and a home of its own."""
    site = tmp_path / "site"
    site.mkdir()
    environment = {**os.environ, "OMNI_HOME": str(tmp_path / "home"), "PYTHONPATH": str(site), "NO_COLOR": "1"}

    def run(*arguments, stdin=""):
        code = "from omni.cli.plugin import app; app(standalone_mode=True)"
        done = subprocess.run(
            [sys.executable, "-c", code, *arguments],
            env=environment,
            input=stdin,
            capture_output=True,
            text=True,
            timeout=60,
        )
        return done

    run.site = site
    run.home = tmp_path / "home"
    return run


def test_the_list_shows_state_and_reason_and_imports_nothing(omni):
    install_plugin(omni.site, "cli_good", LOUD)
    install_plugin(omni.site, "cli_old", LOUD, omni_api=">=0.1,<0.2")
    install_plugin(omni.site, "cli_typo", LOUD, "[permisions]\n")
    done = omni("list")
    assert done.returncode == 0, done.stderr
    lines = {line.split()[0]: line for line in done.stdout.splitlines()}
    assert " found " in lines["cli_good"]
    assert "refused" in lines["cli_old"] and ">=0.1,<0.2" in lines["cli_old"]
    assert "Did you mean 'permissions'?" in lines["cli_typo"]


def test_the_list_as_json(omni):
    install_plugin(omni.site, "cli_json", LOUD, CAMERA)
    records = {record["id"]: record for record in json.loads(omni("list", "--json").stdout)}
    assert records["cli_json"]["permissions"] == {"network": ["example.org"], "camera": True}
    assert records["cli_json"]["state"] == "found"


def test_two_plugins_with_one_id_are_both_refused(omni):
    install_plugin(omni.site, "cli_twin", LOUD)
    install_plugin(omni.site, "cli_twin", LOUD, package="omni_other")
    done = omni("list")
    assert "Two plugins have the id 'cli_twin'" in done.stdout


def test_info_says_what_it_may_do_and_that_it_is_advisory(omni):
    install_plugin(omni.site, "cli_info", LOUD, CAMERA)
    out = omni("info", "cli_info").stdout
    assert "talk to example.org, see the camera (advisory" in out
    install_plugin(omni.site, "cli_iso", LOUD, CAMERA, isolation="process")
    assert "see the camera (enforced)" in omni("info", "cli_iso").stdout


def test_disable_and_enable_with_one_question(omni):
    install_plugin(omni.site, "cli_switch", LOUD, CAMERA)
    assert omni("disable", "cli_switch").returncode == 0
    assert "It is disabled." in omni("list").stdout
    no = omni("enable", "cli_switch", stdin="n\n")
    assert no.returncode != 0 and "see the camera" in no.stdout
    assert "It is disabled." in omni("list").stdout
    assert omni("enable", "cli_switch", stdin="y\n").returncode == 0
    assert "disabled" not in omni("list").stdout


def test_a_version_that_asks_for_more_than_was_granted_is_refused(omni):
    install_plugin(omni.site, "cli_grow", LOUD, CAMERA)
    assert omni("enable", "cli_grow", "--yes").returncode == 0
    install_plugin(
        omni.site, "cli_grow", LOUD, "[permissions]\ncamera = true\nscreen = true\nnetwork = ['evil.example']\n"
    )
    out = omni("list").stdout
    assert "asks for more than was granted: network: evil.example, screen" in out


def test_a_name_that_is_not_there_brings_the_nearest(omni):
    install_plugin(omni.site, "cli_near", LOUD)
    done = omni("info", "cli_naer")
    assert done.returncode != 0
    assert "Did you mean 'cli_near'?" in done.stdout + done.stderr


def test_fifty_plugins_are_listed_with_half_a_second_of_work(omni):
    manifest = (
        '[[capabilities]]\nprotocol = "Embedder"\n[[tools]]\nname = "t"\neffect = "pure"\nexamples = ["a", "b"]\n'
    )
    for number in range(50):
        install_plugin(omni.site, f"cli_many{number}", LOUD, manifest)
    costs = []
    for _ in range(2):
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        assert omni("list").stdout.count("cli_many") == 50
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        costs.append(after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime)
    assert min(costs) < 0.5  # processor time, so that a busy machine does not decide
