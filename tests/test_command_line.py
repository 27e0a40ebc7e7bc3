"""The command line: quick, unimported until called, one sentence for an error, a status a script can use."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from omni.cli.main import main

OMNI = [sys.executable, "-m", "omni.cli.main"]


def omni(*arguments, home, timeout=60, stdin="", **environ):
    environment = {k: v for k, v in os.environ.items() if not k.startswith("OMNI")}
    environment |= {"OMNI_HOME": str(home), "NO_COLOR": "1", "COLUMNS": "200", **environ}
    return subprocess.run(
        [*OMNI, *arguments], capture_output=True, text=True, timeout=timeout, env=environment, input=stdin
    )


def test_help_is_quick_and_imports_nothing_it_does_not_need(tmp_path):
    times = []
    for _ in range(5):
        before = os.times()
        done = omni("--help", home=tmp_path)
        after = os.times()  # processor time: the machine may have more to do
        times.append(sum(after[2:4]) - sum(before[2:4]))
    assert done.returncode == 0
    for name in ("run", "chat", "demo", "models", "plugin", "config", "doctor", "replay"):
        assert re.search(rf"^\s+{name}\s", done.stdout, re.MULTILINE), name
    assert min(times) < 0.3, f"the quickest of five took {min(times):.2f} s"
    code = (
        "import sys; sys.argv = ['omni', '--help']\n"
        "from omni.cli.main import main\n"
        "try: main()\n"
        "except SystemExit: pass\n"
        "heavy = {'pydantic', 'numpy', 'rich', 'uvicorn', 'torch', 'onnxruntime', 'asyncio'} & set(sys.modules)\n"
        "plugins = [m for m in sys.modules if m.startswith('omni_')]\n"
        "print('HEAVY', sorted(heavy), plugins)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=30)
    assert done.stdout.rstrip().endswith("HEAVY [] []"), done.stdout[-300:]


@pytest.mark.parametrize(
    "command",
    ["run", "chat", "demo", "models list", "models pull", "models verify", "models remove", "config show", "config set",
     "config path", "doctor", "replay", "plugin list"],
)  # fmt: skip
def test_every_command_explains_itself(command, tmp_path, monkeypatch, capsys):
    for key, value in {"OMNI_HOME": str(tmp_path), "NO_COLOR": "1", "COLUMNS": "200"}.items():
        monkeypatch.setenv(key, value)
    with pytest.raises(SystemExit) as ended:
        main([*command.split(), "--help"])
    assert ended.value.code in (0, None)
    said = capsys.readouterr().out
    assert "Usage: omni" in said
    if not command.startswith("plugin"):
        assert "Example" in said


def test_an_error_is_one_sentence_with_a_status_and_no_traceback(tmp_path):
    done = omni("models", "pull", "wisper-base", home=tmp_path)
    assert done.returncode == 1 and "'whisper-base'" in done.stderr and "Traceback" not in done.stderr
    done = omni("config", "set", "server.prot", "1", home=tmp_path)
    assert done.returncode == 2 and "'server.port'" in done.stderr and done.stderr.count("\n") == 1
    done = omni("--debug", "config", "set", "server.prot", "1", home=tmp_path)
    assert done.returncode == 2 and "Traceback" in done.stderr
    assert "Traceback" in omni("config", "set", "server.prot", "1", "--debug", home=tmp_path).stderr
    assert omni("frobnicate", home=tmp_path).returncode == 2


def test_version_and_profile(tmp_path):
    assert re.match(r"omni \d+\.\d+", omni("--version", home=tmp_path).stdout)
    done = omni("--profile", "small", "config", "show", "chat.model", "--origin", home=tmp_path)
    assert "smollm2-135m" in done.stdout and "profile small" in done.stdout
    assert omni("--profile", "nope", "config", "show", home=tmp_path).returncode == 2


def test_settings_are_shown_set_and_unset(tmp_path):
    assert omni("config", "set", "server.port", "9001", home=tmp_path).returncode == 0
    rows = json.loads(omni("config", "show", "server.port", "--json", home=tmp_path).stdout)
    assert rows == [{"key": "server.port", "value": 9001, "origin": str(tmp_path / "config.toml")}]
    shown = omni("config", "show", "server", "--origin", home=tmp_path, OMNI__SERVER__HOST="127.0.0.2").stdout
    assert "environment OMNI__SERVER__HOST" in shown
    omni("config", "unset", "server.port", home=tmp_path)
    assert json.loads(omni("config", "show", "server.port", "--json", home=tmp_path).stdout)[0]["origin"] == "default"
    assert str(tmp_path) in omni("config", "path", home=tmp_path).stdout


def test_secrets_are_not_shown(tmp_path):
    assert "sk-secret" not in omni("config", "set", "chat.api_key", "sk-secret", home=tmp_path).stdout
    done = omni("config", "show", "--origin", home=tmp_path)
    assert "sk-secret" not in done.stdout and "(set)" in done.stdout
    assert (tmp_path / "config.toml").stat().st_mode & 0o077 == 0


def test_models_are_listed_verified_and_removed(tmp_path):
    rows = {row["id"]: row for row in json.loads(omni("models", "list", "--json", home=tmp_path).stdout)}
    assert rows["whisper-base"]["state"] == "missing" and rows["whisper-base"]["licence"] == "MIT"
    table = omni("models", "list", home=tmp_path).stdout
    assert "whisper-base" in table and "150 MB" in table
    broken = tmp_path / "models" / "silero-vad"
    broken.mkdir(parents=True)
    (broken / "silero_vad.onnx").write_bytes(b"not a model")
    done = omni("models", "verify", "silero-vad", home=tmp_path)
    assert done.returncode == 1 and "omni models pull silero-vad" in done.stdout
    assert "freed" in omni("models", "remove", "silero-vad", home=tmp_path).stdout
    assert not broken.exists()


def test_the_doctor_says_what_to_mend_and_how(tmp_path):
    done = omni("doctor", "--json", "--no-plugins", home=tmp_path)
    checks = {check["name"]: check for check in json.loads(done.stdout)}
    assert checks["settings"]["ok"] and checks["data folder"]["ok"] and checks["python"]["ok"]
    missing = checks["model silero-vad"]
    assert not missing["ok"] and "omni models pull silero-vad" in missing["remedy"]
    assert done.returncode == 1
    (tmp_path / "config.toml").write_text("[server]\nprot = 1\n")
    done = omni("doctor", home=tmp_path)
    assert done.returncode == 1 and "server.port" in done.stdout


def test_the_doctor_finds_a_port_in_use(tmp_path):
    import socket

    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        done = omni("doctor", "--json", "--no-plugins", home=tmp_path, OMNI__SERVER__PORT=str(port), timeout=90)
    [check] = [check for check in json.loads(done.stdout) if check["name"] == "port"]
    assert not check["ok"] and str(port) in check["detail"] and "--port" in check["remedy"]


def make_plugin(tmp_path, code, command="hello"):
    package = tmp_path / "site" / "omni_toy"
    package.mkdir(parents=True)
    (package / "__init__.py").write_text("")
    (package / "commands.py").write_text(code)
    (package / "plugin.toml").write_text(
        'id = "toy"\nversion = "0.1"\nomni_api = ">=1.0"\nentry = "omni_toy.plugin:plugin"\n'
        f'[[commands]]\nname = "{command}"\nhelp = "Greet somebody"\ntarget = "omni_toy.commands:app"\n'
    )
    info = tmp_path / "site" / "omni_toy-0.1.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: omni-toy\nVersion: 0.1\n")
    (info / "entry_points.txt").write_text("[omni.plugins]\ntoy = omni_toy\n")
    return {"PYTHONPATH": str(tmp_path / "site")}


def test_a_plugins_command_is_mounted_and_imported_only_when_called(tmp_path):
    environ = make_plugin(
        tmp_path,
        "import sys, typer\nprint('IMPORTED', file=sys.stderr)\napp = typer.Typer()\n"
        "@app.command()\ndef greet(name: str):\n    print('hello', name)\n",
    )
    done = omni("--help", home=tmp_path, **environ)
    assert "Greet somebody" in done.stdout and "IMPORTED" not in done.stderr
    done = omni("hello", "Ada", home=tmp_path, **environ)
    assert done.returncode == 0 and done.stdout == "hello Ada\n" and "IMPORTED" in done.stderr


def test_a_plugins_broken_command_says_so_and_spoils_no_other(tmp_path):
    environ = make_plugin(tmp_path, "raise RuntimeError('broken inside')")
    done = omni("hello", home=tmp_path, **environ)
    assert done.returncode == 1 and "broken inside" in done.stderr and "Traceback" not in done.stderr
    assert omni("--version", home=tmp_path, **environ).returncode == 0


def test_a_plugin_cannot_take_the_place_of_a_command_of_omni(tmp_path):
    environ = make_plugin(tmp_path, "raise RuntimeError('broken inside')", command="doctor")
    assert "Greet somebody" not in omni("--help", home=tmp_path, **environ).stdout


def test_main_py_is_omni_run(tmp_path):
    root = Path(__file__).parent.parent
    done = subprocess.run([sys.executable, root / "main.py", "--help"], capture_output=True, text=True, timeout=30)
    assert done.returncode == 0 and "Start Omni and print the address" in done.stdout


def test_replay_of_nothing_says_so(tmp_path):
    done = omni("replay", str(tmp_path), home=tmp_path)
    assert done.returncode == 2 and "not a recorded session" in done.stderr
