"""Airgap is provable: nothing but loopback is reached, by any road, in children too."""

import os
import subprocess
import sys
import textwrap

import pytest

from omni.airgap import OFFLINE, is_loopback


def run(code, **environ):
    """Run code in a process of its own: an audit hook can't be taken out again."""
    environment = {**{k: v for k, v in os.environ.items() if k not in OFFLINE}, **environ}
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(code)], capture_output=True, text=True, timeout=60, env=environment
    )
    return done.returncode, done.stdout, done.stderr


ROADS = {
    "connect": "socket.create_connection(('192.0.2.1', 80), timeout=2)",
    "connect_ex": "socket.socket().connect_ex(('192.0.2.1', 80))",
    "connect by name": "socket.socket().connect(('example.org', 80))",
    "ipv6": "socket.socket(socket.AF_INET6).connect(('2001:db8::1', 80))",
    "datagram": "socket.socket(socket.AF_INET, socket.SOCK_DGRAM).sendto(b'x', ('192.0.2.1', 53))",
    "sendmsg": "socket.socket(socket.AF_INET, socket.SOCK_DGRAM).sendmsg([b'x'], [], 0, ('192.0.2.1', 53))",
    "name look-up": "socket.getaddrinfo('example.org', 80)",
    "old look-up": "socket.gethostbyname('example.org')",
    "urllib": "__import__('urllib.request').request.urlopen('http://192.0.2.1/', timeout=2)",
    "asyncio": "__import__('asyncio').run(__import__('asyncio').open_connection('192.0.2.1', 80))",
    "httpx": "__import__('httpx').get('http://192.0.2.1/', timeout=2)",
    "mapped": "socket.socket(socket.AF_INET6).connect(('::ffff:192.0.2.1', 80))",
}


@pytest.mark.parametrize("road", ROADS, ids=list(ROADS))
def test_every_road_out_is_refused(road):
    code, _, error = run(f"import socket, omni.airgap\nomni.airgap.install()\n{ROADS[road]}")
    assert code != 0
    assert "Airgapped" in error and "--airgap" in error, error[-500:]


def test_loopback_still_works_and_so_does_listening():
    code, out, error = run(
        """
        import asyncio, omni.airgap
        omni.airgap.install()
        async def main():
            server = await asyncio.start_server(lambda r, w: (w.write(b'hi'), w.close()), '127.0.0.1', 0)
            port = server.sockets[0].getsockname()[1]
            reader, writer = await asyncio.open_connection('localhost', port)
            print((await reader.read()).decode())
            writer.close()
            await (await asyncio.start_server(lambda r, w: None, '0.0.0.0', 0)).start_serving()
        asyncio.run(main())
        """
    )
    assert code == 0 and out.strip() == "hi", error[-500:]


def test_child_processes_inherit_it():
    code, out, error = run(
        """
        import subprocess, sys, omni.airgap
        omni.airgap.install()
        child = "import omni, socket; socket.create_connection(('192.0.2.1', 80), timeout=2)"
        print(subprocess.run([sys.executable, '-c', child], capture_output=True, text=True).stderr)
        """
    )
    assert code == 0 and "Airgapped" in out, error[-500:]


def test_without_it_nothing_is_refused():
    code, out, _ = run("import omni.airgap, socket\nomni.airgap.inherit()\nprint(omni.airgap.active())")
    assert code == 0 and out.strip() == "False"


def test_a_proxy_on_this_machine_is_not_used():
    code, out, _ = run("import os, omni.airgap\nomni.airgap.install()\nprint(os.environ.get('https_proxy'))",
                       https_proxy="http://127.0.0.1:3128")  # fmt: skip
    assert code == 0 and out.strip() == "None"


HERE = ["127.0.0.1", "127.8.9.1", "::1", "localhost", "LOCALHOST.", "::ffff:127.0.0.1", b"127.0.0.1"]
ELSEWHERE = ["192.168.1.1", "10.0.0.1", "localhost.evil.org", "127.0.0.1.evil.org", "", None, 5, "::"]


@pytest.mark.parametrize("host", HERE)
def test_what_is_this_machine(host):
    assert is_loopback(host)


@pytest.mark.parametrize("host", ELSEWHERE)
def test_what_is_not(host):
    assert not is_loopback(host)


def test_no_library_prepares_to_send_what_it_is_used_for(tmp_path):
    silences = ("ORT_DISABLE_TELEMETRY", "HF_HUB_DISABLE_TELEMETRY", "DO_NOT_TRACK", "CI", "GITHUB_ACTIONS")
    environment = {name: value for name, value in os.environ.items() if name not in silences}
    home = {"HOME": str(tmp_path), "XDG_CACHE_HOME": str(tmp_path / "cache"), "LOCALAPPDATA": str(tmp_path)}
    code = "import omni, onnxruntime; from huggingface_hub import constants; print(constants.HF_HUB_DISABLE_TELEMETRY)"
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True, env=environment | home
    )
    assert done.stdout.strip() == "True"
    # ONNX Runtime would write an identifier of the device and a queue of events here, at its import.
    assert [str(path) for path in tmp_path.rglob("*") if path.is_file()] == []
