"""The JSON interface: history, models, settings, plugins, uploads, cards, ports and instances."""

from __future__ import annotations

import asyncio
import http.server
import json
import shutil
import threading
import tomllib
from io import BytesIO

import pytest
from pages import served
from PIL import Image
from starlette.testclient import TestClient

from omni.capabilities import Memory, Moment, PastSession
from omni.config import load_config, user_file
from omni.errors import Busy
from omni.server.app import build_app
from omni.server.scripted import ScriptedHost, ScriptedRuntime
from omni.server.serve import INSTANCE_FILE, listen, serve, single_instance

TOKEN = "key"
HOST = "127.0.0.1:8765"
BEARER = {"authorization": f"Bearer {TOKEN}"}


class ListMemory:
    """Two past conversations in a list."""

    def __init__(self) -> None:
        def said(session: str, turn: int, role: str, text: str, at: float, cut: bool = False) -> Moment:
            return Moment("speech", text, at, at + 1, session, turn, data={"role": role, "cut": cut})

        self.moments = [
            said("old", 1, "user", "Where is Orion?", 1000.0),
            said("old", 1, "assistant", "In the winter", 1002.0, cut=True),
            said("old", 2, "user", "Thanks", 1010.0),
            said("new", 1, "user", "Bake a cake", 2000.0),
        ]

    async def sessions(self, query: str = "", *, limit: int = 50) -> list[PastSession]:
        names = ["new", "old"] if not query else ["old"] if "orion" in query.lower() else []
        found = []
        for name in names:
            own = [m for m in self.moments if m.session == name]
            if own:
                turns = sum(m.data["role"] == "user" for m in own)
                found.append(PastSession(name, own[0].text, own[0].start, own[-1].end, turns))
        return found

    async def timeline(self, session: str = "", **_: object) -> list[Moment]:
        return [m for m in self.moments if m.session == session]

    async def forget(self, ids=(), *, sessions=(), **_: object) -> int:
        before = len(self.moments)
        self.moments = [m for m in self.moments if m.session not in sessions]
        return before - len(self.moments)


@pytest.fixture
def home(tmp_path, monkeypatch):
    monkeypatch.setenv("OMNI_HOME", str(tmp_path / "home"))
    return tmp_path / "home"


def client_of(runtime: ScriptedRuntime, **options) -> TestClient:
    app = build_app(runtime, token=TOKEN, **options)
    return TestClient(app, base_url=f"http://{HOST}", headers=BEARER)


@pytest.fixture
def client(home):
    with client_of(ScriptedRuntime(host=ScriptedHost((Memory, ListMemory())))) as client:
        yield client


def talk(client: TestClient, text: str) -> str:
    """One typed turn, heard to its end; returns the session's id."""
    with client.websocket_connect("/ws", headers={"host": HOST, **BEARER}) as socket:
        session = socket.receive_json()["session"]
        socket.send_text(json.dumps({"type": "Settings", "values": {"voice": False}}))
        socket.send_text(json.dumps({"type": "Say", "text": text}))
        while True:
            message = socket.receive()
            if "text" in message and json.loads(message["text"]).get("final"):
                return session


# -- history ------------------------------------------------------------------------------------------


def test_past_conversations_are_listed_searched_read_and_exported(client):
    session = talk(client, "Hello from today")
    listed = client.get("/api/conversations").json()["conversations"]
    assert [c["id"] for c in listed] == [session, "new", "old"] and listed[0]["open"] and not listed[1]["open"]
    assert [c["id"] for c in client.get("/api/conversations?query=orion").json()["conversations"]] == ["old"]
    assert [c["id"] for c in client.get("/api/conversations?query=TODAY").json()["conversations"]] == [session]
    assert client.get("/api/conversations?query=zebra").json()["conversations"] == []
    old = client.get("/api/conversations/old").json()
    assert [(t["asked"], t["heard"], t["cut"]) for t in old["list"]] == [
        ("Where is Orion?", "In the winter", True), ("Thanks", "", False),
    ]  # fmt: skip
    markdown = client.get("/api/conversations/old/export?format=md")
    assert "**Omni**: In the winter — *(interrupted)*" in markdown.text
    assert markdown.headers["content-disposition"] == 'attachment; filename="omni-old.md"'
    exported = client.get(f"/api/conversations/{session}/export?format=json").json()
    assert exported["turns"][0]["heard"] == "You said: Hello from today."
    assert client.get("/api/conversations/old/export?format=exe").status_code == 400
    assert client.get("/api/conversations?query=" + "x" * 501).status_code == 400


def test_a_conversation_is_deleted_for_good(client):
    assert client.delete("/api/conversations/old").json() == {"forgotten": 3}
    assert client.get("/api/conversations/old").status_code == 404
    assert client.delete("/api/conversations/old").status_code == 404
    session = talk(client, "A secret")
    client.delete(f"/api/conversations/{session}")
    assert session not in [c["id"] for c in client.get("/api/conversations").json()["conversations"]]


def test_a_past_conversation_goes_on_with_what_was_said(client):
    session = client.post("/api/conversations/old/resume").json()["session"]
    with client.websocket_connect(f"/ws?session={session}", headers={"host": HOST, **BEARER}) as socket:
        welcome = socket.receive_json()
    assert welcome["session"] == session
    assert [(e["asked"], e["heard"]) for e in welcome["history"]] == [
        ("Where is Orion?", "In the winter"),
        ("Thanks", ""),
    ]
    assert client.post("/api/conversations/absent/resume").status_code == 404
    assert client.post(f"/api/conversations/{session}/resume").json() == {"session": session}  # open: as it is


def test_without_a_memory_the_history_is_this_runs(home):
    with client_of(ScriptedRuntime()) as client:
        session = talk(client, "Only here")
        assert [c["id"] for c in client.get("/api/conversations").json()["conversations"]] == [session]
        assert client.delete(f"/api/conversations/{session}").json() == {"forgotten": 1}


# -- settings, plugins ---------------------------------------------------------------------------------


def test_settings_come_with_type_meaning_and_origin_and_are_written_checked(client, monkeypatch):
    def of(key: str) -> dict:
        sections = client.get("/api/config").json()["sections"]
        return next(s for section in sections for s in section["settings"] if s["key"] == key)

    port = of("server.port")
    assert (port["type"], port["value"], port["origin"], port["maximum"]) == ("integer", 8765, "default", 65535)
    assert "port" in port["help"]
    saved = client.post("/api/config", json={"key": "server.port", "value": 9000}).json()
    assert saved["value"] == 9000 and not saved["overruled"]
    assert tomllib.loads(user_file().read_text())["server"]["port"] == 9000
    assert of("server.port")["origin"] == str(user_file())
    for key, value in (
        ("server.port", "many"),
        ("server.port", 70_000),
        ("server.prot", 1),
        ("models.order", ["moon"]),
    ):
        refused = client.post("/api/config", json={"key": key, "value": value})
        assert refused.status_code == 400 and refused.json()["error"]["message"], (key, value)
    assert load_config().get("server.port") == 9000
    monkeypatch.setenv("OMNI__SERVER__PORT", "9999")
    assert client.post("/api/config", json={"key": "server.port", "value": 9001}).json()["overruled"]
    monkeypatch.delenv("OMNI__SERVER__PORT")
    assert client.post("/api/config", json={"key": "server.port", "value": None}).json()["value"] == 8765


def test_a_secret_is_never_shown(client):
    client.post("/api/config", json={"key": "chat.api_key", "value": "sk-very-secret"})
    page = client.get("/api/config").text
    assert "sk-very-secret" not in page and "••••" in page
    shown = client.post("/api/config", json={"key": "chat.api_key", "value": "••••••"})
    assert shown.status_code == 400 and load_config().get("chat.api_key") == "sk-very-secret"


def test_plugins_show_state_cost_and_permissions_and_are_switched(home, tmp_path):
    from omni.host.host import Host

    host = Host(load_config(), None, tmp_path / "data", only=set())
    asyncio.run(host.start())
    runtime = ScriptedRuntime(host=host)
    with client_of(runtime) as client:
        plugins = client.get("/api/plugins").json()["plugins"]
        speech = next(p for p in plugins if p["id"] == "speech")
        assert (
            speech["state"] == "refused"
            and "--only" in speech["reason"]
            and speech["permissions"] == {"microphone": True}
        )
        assert speech["resources"]["ram_mb"] > 0 and speech["permissions_text"] == ["hear the microphone"]
        off = client.post("/api/plugins/enable", json={"plugin": "speech", "enabled": False})
        assert off.json()["restart"]
        again = Host(load_config(), None, tmp_path / "data")
        assert not again.registry.of("speech").enabled
        more = client.post("/api/plugins/enable", json={"plugin": "speech", "enabled": True, "grant": {}})
        assert more.status_code == 400  # a yes to something else than was asked
        client.post("/api/plugins/enable", json={"plugin": "speech", "enabled": True, "grant": {"microphone": True}})
        assert Host(load_config(), None, tmp_path / "data").registry.of("speech").granted == {"microphone": True}
        assert client.post("/api/plugins/enable", json={"plugin": "absent", "enabled": True}).status_code == 404
        assert client.post("/api/plugins/enable", json={"plugin": "speech"}).status_code == 400
        settings = client.get("/api/config").json()["sections"]
        voice = next(s for s in settings if s["id"] == "plugins.speech")["settings"]
        assert any(s["key"] == "plugins.speech.voice" and s["choices"] for s in voice)
        wrong = client.post("/api/config", json={"key": "plugins.speech.voice", "value": "trombone"})
        assert wrong.status_code == 400 and "one of" in wrong.json()["error"]["message"]


# -- models --------------------------------------------------------------------------------------------


@pytest.fixture
def models(home, tmp_path):
    """A runtime whose catalogue holds one small model in a local folder, and one that nobody has."""
    import hashlib

    from omni.catalogue.entries import Catalogue
    from omni.catalogue.store import ModelStore

    folder = tmp_path / "source"
    folder.mkdir()
    (folder / "model.bin").write_bytes(b"weights" * 1000)
    pin = {"size": 7000, "sha256": hashlib.sha256(b"weights" * 1000).hexdigest()}

    def entry(name: str, path: str) -> str:
        return (
            f'[{name}]\ntask = "chat"\nname = "{name.title()}"\nlicence = "MIT"\nlicence_found = "LICENSE says MIT"\n'
            f'format = "gguf"\nfiles = {{ "model.bin" = {{ size = {pin["size"]}, sha256 = "{pin["sha256"]}" }} }}\n'
            f'[[{name}.sources]]\nkind = "local"\npath = "{path}"\n'
        )

    catalogue = tmp_path / "models.toml"
    catalogue.write_text(entry("tiny", str(folder)) + entry("absent", str(tmp_path / "nowhere")))
    runtime = ScriptedRuntime()
    runtime.store = ModelStore(tmp_path / "models", Catalogue.load(catalogue), order=["local"])
    with client_of(runtime) as client:
        yield client


def test_models_are_listed_fetched_with_progress_switched_and_removed(models):
    client = models
    tiny = next(m for m in client.get("/api/models").json()["models"] if m["id"] == "tiny")
    assert (tiny["state"], tiny["size"], tiny["licence"], tiny["in_use"]) == ("missing", 7000, "MIT", False)
    assert client.post("/api/models/switch", json={"model": "tiny"}).status_code == 400  # not here yet
    with client.websocket_connect("/ws", headers={"host": HOST, **BEARER}) as socket:
        socket.receive_json()
        for name in ("tiny", "absent"):
            assert client.post("/api/models/pull", json={"model": name}).json() == {"ok": True}
        ended: dict[str, dict] = {}
        moving = 0
        while len(ended) < 2:
            message = socket.receive_json()
            if message["type"] == "ModelProgress":
                moving += message["state"] == "fetching"
                if message["state"] != "fetching":
                    ended[message["model"]] = message
    assert ended["tiny"]["state"] == "installed" and moving >= 1
    assert ended["absent"]["state"] == "failed" and ended["absent"]["message"] and ended["absent"]["remedy"]
    assert client.post("/api/models/switch", json={"model": "tiny"}).json()["restart"]
    assert load_config().get("chat.model") == "tiny"
    assert next(m for m in client.get("/api/models").json()["models"] if m["id"] == "tiny")["in_use"]
    assert client.post("/api/models/remove", json={"model": "tiny"}).json()["freed"] >= 7000
    unknown = client.post("/api/models/pull", json={"model": "tinny"})
    assert (
        unknown.status_code in (400, 404)
        and "tiny" in unknown.json()["error"]["message"] + unknown.json()["error"]["remedy"]
    )
    assert client.post("/api/models/cancel", json={"model": "tiny"}).json() == {"ok": True}


# -- uploads, cards, status ------------------------------------------------------------------------------


def png(width: int = 20) -> bytes:
    out = BytesIO()
    Image.new("RGB", (width, 10), "navy").save(out, "PNG")
    return out.getvalue()


def test_uploads_are_known_by_their_bytes_and_go_with_the_turn(client):
    with client.websocket_connect("/ws", headers={"host": HOST, **BEARER}) as socket:
        session = socket.receive_json()["session"]
        kept = client.post(f"/api/media?session={session}&name=sky.exe", content=png()).json()
        assert (kept["kind"], kept["mime"], kept["name"]) == ("image", "image/png", "sky.exe")
        shown = client.get(f"/api/media/{session}/{kept['ref']}")
        assert shown.content == png() and shown.headers["content-type"] == "image/png"
        assert shown.headers["content-security-policy"] == "sandbox"
        pdf = client.post(f"/api/media?session={session}", content=b"%PDF-1.7 ...").json()
        assert pdf["kind"] == "document"
        for bad in (b"", b"MZ\x90", b"<svg onload=alert(1)>", b"<html>", b"\x00" * 100):
            refused = client.post(f"/api/media?session={session}&name=a.png", content=bad)
            assert refused.status_code == 400 and refused.json()["error"]["remedy"]
        assert client.post(f"/api/media?session={session}", content=png() + b"x" * 20_000_001).status_code == 413
        assert client.post("/api/media?session=absent", content=png()).status_code == 404
        assert client.get(f"/api/media/{session}/upload:absent").status_code == 404
        socket.send_text(json.dumps({"type": "Attach", "refs": [pdf["ref"], kept["ref"]]}))
        socket.send_text(json.dumps({"type": "Attach", "refs": [kept["ref"]]}))  # the PDF was taken back
        socket.send_text(json.dumps({"type": "Say", "text": "what is it", "attachments": [kept["ref"]]}))
        while (message := socket.receive_json())["type"] != "TurnCommitted":
            pass
        assert [a["ref"] for a in message["attachments"]] == [kept["ref"]]
        (conversation,) = client.app.state.hub.runtime.conversations.values()
        while (message := socket.receive())["type"] and "final" not in message.get("text", "final"):
            pass
        assert [a.ref for a in conversation.session.turns.history[-1].attachments] == [kept["ref"]]


def test_what_a_session_keeps_of_uploads_is_bounded(home):
    from omni.server.media import SESSION_LIMIT, Uploads

    async def main() -> None:
        runtime = ScriptedRuntime()
        conversation = await runtime.open_session()
        uploads = Uploads(conversation.session)
        first = uploads.add(png(1) + b"x" * 15_000_000)
        for width in range(2, 12):
            uploads.add(png(width) + b"x" * 15_000_000)
        assert sum(map(len, conversation.session.media.values())) <= SESSION_LIMIT
        assert uploads.read(first.ref) is None
        await runtime.stop()

    asyncio.run(main())


def test_claim_cards_are_shown_and_broken_ones_left_out(home, tmp_path):
    folder = tmp_path / "cards"
    folder.mkdir()
    (folder / "voice.json").write_text('{"bench": "voice", "figures": {"p50_s": 0.8}, "pass": true}')
    (folder / "broken.json").write_text("{")
    (folder / "other.json").write_text("[1]")
    with client_of(ScriptedRuntime(), cards=folder) as client:
        (card,) = client.get("/api/cards").json()["cards"]
        assert card["figures"] == {"p50_s": 0.8} and card["measured"] > 0
        status = client.get("/api/status").json()
        assert status["sessions"] == [] and status["version"]
    with client_of(ScriptedRuntime(), cards=tmp_path / "nowhere") as client:
        assert client.get("/api/cards").json() == {"cards": []}


@pytest.mark.parametrize("body", [b"{", b"[]", b"\xff\xfe", b'{"token": 5}', b"[" * 100_000])
def test_a_request_that_is_no_json_is_refused_with_a_sentence(client, body):
    for path in ("/api/config", "/api/plugins/enable", "/api/models/pull"):
        response = client.post(path, content=body)
        assert response.status_code == 400 and response.json()["error"]["message"]


# -- ports and instances ---------------------------------------------------------------------------------


def test_a_port_in_use_is_said_with_what_to_do(home):
    class Silent(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_error(404)

        def log_message(self, *_: object) -> None: ...

    other = http.server.HTTPServer(("127.0.0.1", 0), Silent)
    threading.Thread(target=other.serve_forever, daemon=True).start()
    port = other.server_address[1]
    try:
        with pytest.raises(Busy, match=f"Port {port} of 127.0.0.1 is used by another program. .*--port {port + 1}"):
            listen("127.0.0.1", port)
    finally:
        other.shutdown()
        other.server_close()
    listen("127.0.0.1", port).close()


async def test_a_second_instance_is_told_where_the_first_is(home):
    runtime = ScriptedRuntime()
    async with served(runtime) as url:
        port = int(url.split(":")[2].split("/")[0])
        second = ScriptedRuntime()
        with pytest.raises(Busy) as caught:  # the same port
            await asyncio.to_thread(listen, "127.0.0.1", port)
        assert f"running already at http://127.0.0.1:{port} (process" in caught.value.message
        with pytest.raises(Busy) as caught:  # the same data folder
            await serve(second, port=0)
        assert url in caught.value.remedy and "OMNI_HOME" in caught.value.remedy
        kept = second.config.data_dir / INSTANCE_FILE
        assert kept.stat().st_mode & 0o077 == 0  # the key in it is for this user alone
    await runtime.stop()
    assert not kept.exists()
    with single_instance(second.config.data_dir, "x"):
        assert kept.exists()
    shutil.rmtree(second.config.data_dir)
