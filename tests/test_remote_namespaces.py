"""Four machines on one: a broker, two workers and a host, each in a network namespace of its own, joined by cables.

The namespaces belong to processes, so nothing of them is left when those end. This file is also the program that
runs as the host in there: `python test_remote_namespaces.py SCENARIO FOLDER`.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from omni.testing import PATIENCE_S, until

MOSQUITTO = shutil.which("mosquitto", path=f"{os.environ.get('PATH', '')}:/usr/sbin")
BODY = """
import asyncio, os
from pathlib import Path
from omni.capabilities import Reranker
from omni.host.hookspecs import Offer, hookimpl
from omni.tools import Effect, tool

class Scores:
    async def open(self): pass
    async def close(self): pass
    async def rerank(self, query, passages): return [float(os.getpid())]

async def _work(where):
    with open(where, "a") as file: file.write(f"{os.getpid()}\\n")
    if len(Path(where).read_text().split()) == 1 or "always" in where: await asyncio.sleep(120)
    return os.getpid()

async def look(where: str) -> int: "Look."; return await _work(where)
async def keep(where: str) -> int: "Keep."; return await _work(where)
async def send(where: str) -> int: "Send."; return await _work(where)

class Plugin:
    @hookimpl
    def omni_capabilities(self): return [Offer(Reranker, "scores", Scores)]
    @hookimpl
    def omni_tools(self):
        made = ((look, Effect.PURE), (keep, Effect.IDEMPOTENT), (send, Effect.MUTATING))
        return [tool(one, effect=effect, deadline_s=60.0) for one, effect in made]
plugin = Plugin()
"""
MANIFEST = '[[capabilities]]\nprotocol = "Reranker"\n' + "".join(
    f'[[tools]]\nname = "{name}"\neffect = "{effect}"\n'
    for name, effect in (("look", "pure"), ("keep", "idempotent"), ("send", "mutating"))
)


def missing() -> str:
    """Why four machines can't be made here; "" when they can."""
    if not sys.platform.startswith("linux"):
        return "network namespaces are Linux's"
    path = _environment()["PATH"]
    absent = [name for name in ("unshare", "nsenter", "ip") if shutil.which(name, path=path) is None]
    if absent or not MOSQUITTO:
        return f"not installed: {', '.join(absent) or 'mosquitto'}"
    command = ["unshare", "-rn", "ip", "link", "add", "omni-a", "type", "veth", "peer", "name", "omni-b"]
    tried = subprocess.run(command, capture_output=True, text=True, env=_environment(), check=False)
    return f"network namespaces are not permitted: {tried.stderr.strip()}" if tried.returncode else ""


def _environment() -> dict[str, str]:
    return {**os.environ, "PATH": f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin"}


def played(scenario: str, folder: Path) -> dict[str, object]:
    """What a scenario saw, played by this file on a machine of its own."""
    if why := missing():
        pytest.skip(why)
    command = ["unshare", "-rn", sys.executable, __file__, scenario, str(folder)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=200, env=_environment(), check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    return json.loads(done.stdout.splitlines()[-1])


@pytest.mark.slow
def test_a_killed_workers_request_is_done_once_more_on_another_machine_or_told(tmp_path):
    saw = played("killed", tmp_path)
    assert saw["machines"] == 2 and saw["spread"] == 2
    for name in ("look", "keep"):  # twice is as once: the other machine did it
        assert saw[name] == "done by the other", saw
    assert "died while it did send (run)" in saw["send"] and "twice is not as once" in saw["send"]
    assert saw["times sent"] == 1
    assert "It was on its second worker" in saw["both died"]  # once more, not for ever
    assert saw["then"] == "degraded: no worker of it is on the broker mqtt://10.9.0.1:1883."
    assert saw["will_s"] < 2.0


@pytest.mark.slow
def test_a_machine_whose_cable_is_cut_is_missed_and_its_request_done_by_the_other(tmp_path):
    saw = played("cut", tmp_path)
    assert saw["look"] == "done by the other"
    assert saw["machines"] == 1 and saw["will_s"] < 20.0  # one and a half times the keepalive of 10 s
    assert saw["after"] == "answered"


# --- on the host's machine --------------------------------------------------------------------------


class Machine:
    """A network namespace that lives as long as a process in it: `run` starts another one there."""

    def __init__(self, name: str) -> None:
        self.name = name
        command = ["unshare", "-n", "sh", "-c", "echo up; exec sleep 600"]
        self._holder = subprocess.Popen(command, stdout=subprocess.PIPE)
        self._holder.stdout.readline()
        self.pid = str(self._holder.pid)

    def inside(self, *command: str) -> list[str]:
        return ["nsenter", "-t", self.pid, "-n", *command]

    def end(self) -> None:
        self._holder.kill()
        self._holder.wait()


def shell(*command: str) -> None:
    subprocess.run(command, check=True, capture_output=True, text=True)


def join(broker: Machine, number: int, other: Machine | None) -> None:
    """A cable between the broker (10.9.N.1) and another machine, or this one (10.9.N.2)."""
    here, there = f"b{number}", f"m{number}"
    shell("ip", "link", "add", there, "type", "veth", "peer", "name", here, "netns", broker.pid)
    if other is not None:
        shell("ip", "link", "set", there, "netns", other.pid)
    enter = other.inside if other else lambda *command: list(command)
    shell(*broker.inside("ip", "addr", "add", f"10.9.{number}.1/24", "dev", here))
    shell(*broker.inside("ip", "link", "set", here, "up"))
    shell(*enter("ip", "addr", "add", f"10.9.{number}.2/24", "dev", there))
    shell(*enter("ip", "link", "set", there, "up"))


class Site:
    """The broker's machine, the host here, and workers on machines of their own."""

    def __init__(self, folder: Path) -> None:
        from omni.host.contract.writing import write_plugin
        from omni.host.host import Host

        self.folder = folder
        self.source = write_plugin(folder / "src", "far", BODY, MANIFEST)
        self.broker = Machine("broker")
        self.machines = [Machine("one"), Machine("two")]
        self.workers: dict[int, int] = {}  #: process -> number of its machine
        self.running: list = []
        self.host = Host(Settings(), None, folder / "host", only=["nothing-here"])

    async def begin(self) -> None:
        """Lay the cables, start the broker, a worker on each machine, and the host."""
        for number, other in enumerate((None, *self.machines)):
            join(self.broker, number, other)
        conf = self.folder / "mosquitto.conf"
        conf.write_text("listener 1883 0.0.0.0\nallow_anonymous true\nuser root\n")
        command = self.broker.inside(MOSQUITTO, "-c", str(conf))
        self.running.append(await asyncio.create_subprocess_exec(*command, stderr=subprocess.DEVNULL))
        await asyncio.gather(self.start_worker(1), self.start_worker(2))
        await self.host.start()
        await until(lambda: len(known(self.host)) == 2)

    async def start_worker(self, number: int) -> None:
        """`omni serve-plugin` on machine 1 or 2. Returns when it serves."""
        command = [sys.executable, "-m", "omni.cli.main", "serve-plugin", "far", "--plugin", str(self.source)]
        command += ["--broker", f"mqtt://10.9.{number}.1:1883"]
        environment = {**os.environ, "OMNI_HOME": str(self.folder / str(number))}
        worker = await asyncio.create_subprocess_exec(
            *self.machines[number - 1].inside(*command), env=environment, stdout=subprocess.PIPE
        )
        self.running.append(worker)
        while b"is served on" not in await asyncio.wait_for(worker.stdout.readline(), PATIENCE_S):
            pass  # it may have to try twice while the broker starts
        self.workers[worker.pid] = number

    async def kill(self, process: int) -> float:
        """End a worker at once. Returns after how many seconds the host knew."""
        left = len(known(self.host)) - 1
        os.kill(process, signal.SIGKILL)
        began = time.monotonic()
        await until(lambda: len(known(self.host)) == left)
        return time.monotonic() - began

    async def end(self) -> None:
        """Leave nothing behind."""
        await self.host.stop()
        for process in self.running:
            with contextlib.suppress(ProcessLookupError):
                process.kill()
        for machine in (self.broker, *self.machines):
            machine.end()


class Settings:
    """A configuration that names the broker as this machine sees it."""

    def get(self, key, default=None):
        return "mqtt://10.9.0.1:1883" if key == "remote.broker" else default


@asynccontextmanager
async def four_machines(folder: Path):
    site = Site(folder)
    try:
        await site.begin()
        yield site
    finally:
        await site.end()


def known(host) -> dict[str, str]:
    """The workers the host knows."""
    plugin = host._isolated.get("far@mqtt")
    return plugin.machines if plugin else {}


def record(host):
    return next(one for one in host.plugins() if one.id == "far@mqtt")


class Asked:
    """A tool's call that waits at a worker: `by` is the process that has it."""

    def __init__(self, host, name: str, mark: Path) -> None:
        from omni.tools import ToolContext

        self.mark = mark
        tool = next(tool for tool in host.tools() if tool.name == name)
        self.task = asyncio.ensure_future(tool({"where": str(mark)}, ToolContext()))

    async def by(self, times=1) -> int:
        await until(lambda: self.mark.exists() and len(self.mark.read_text().split()) == times)
        return int(self.mark.read_text().split()[-1])

    async def outcome(self, dead: int) -> str:
        try:
            result = await asyncio.wait_for(self.task, 40)
        except Exception as error:
            return str(error)
        return "done by the other" if result.value != dead else "done by the dead"


async def killed(folder: Path) -> dict[str, object]:
    """Workers are killed in the middle of a request, one after the other, and started again."""
    from omni.capabilities import Reranker

    saw: dict[str, object] = {"will_s": 0.0}
    async with four_machines(folder) as site:
        saw["machines"] = len(known(site.host))
        scores = site.host.get(Reranker)
        answers = await asyncio.gather(*(scores.rerank("q", ["p"]) for _ in range(20)))
        saw["spread"] = len({answer[0] for answer in answers})
        for name in ("look", "keep", "send"):
            asked = Asked(site.host, name, folder / name)
            dead = await asked.by()
            saw["will_s"] = max(saw["will_s"], await site.kill(dead))
            saw[name] = await asked.outcome(dead)
            await site.start_worker(site.workers.pop(dead))
            await until(lambda: len(known(site.host)) == 2)
        saw["times sent"] = len((folder / "send").read_text().split())
        asked = Asked(site.host, "look", folder / "always")
        for times in (1, 2):
            await site.kill(await asked.by(times))
        saw["both died"] = await asked.outcome(0)
        await until(lambda: record(site.host).state == "degraded")
        saw["then"] = f"degraded: {record(site.host).reason}"
    return saw


async def cut(folder: Path) -> dict[str, object]:
    """A worker's cable is cut in the middle of a request: nothing says so but its silence."""
    from omni.capabilities import Reranker

    async with four_machines(folder) as site:
        asked = Asked(site.host, "look", folder / "mark")
        lost = await asked.by()
        number = site.workers[lost]
        shell(*site.machines[number - 1].inside("ip", "link", "set", f"m{number}", "down"))
        began = time.monotonic()
        outcome = await asked.outcome(lost)
        seconds = time.monotonic() - began
        answer = await site.host.get(Reranker).rerank("q", ["p"])
        after = "answered" if int(answer[0]) != lost else "by the one that is cut off"
        return {"look": outcome, "will_s": seconds, "machines": len(known(site.host)), "after": after}


if __name__ == "__main__":
    print(json.dumps(asyncio.run({"killed": killed, "cut": cut}[sys.argv[1]](Path(sys.argv[2])))))
