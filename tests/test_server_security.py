"""Who gets in: Host, Origin and token on HTTP and WebSocket, limits, headers, paths."""

from __future__ import annotations

import pytest
from starlette.testclient import TestClient
from starlette.websockets import WebSocketDisconnect

from omni.host.hookspecs import Panel
from omni.server.app import build_app
from omni.server.limits import TokenBucket
from omni.server.scripted import ScriptedHost, ScriptedRuntime
from omni.server.security import REQUESTS_AT_ONCE, REQUESTS_PER_S

TOKEN = "a-token-of-this-run"
HOST = "127.0.0.1:8765"
ORIGIN = f"http://{HOST}"
BEARER = {"authorization": f"Bearer {TOKEN}"}


@pytest.fixture
def now():
    """The time of the limits, in a list of one: it stands still unless a test moves it."""
    return [0.0]


@pytest.fixture
def app(tmp_path, monkeypatch, now):
    monkeypatch.setenv("OMNI_HOME", str(tmp_path / "home"))
    static = tmp_path / "panel" / "static"
    static.mkdir(parents=True)
    (static / "panel.js").write_text("export {};")
    (tmp_path / "panel" / "secret.txt").write_text("secret")
    (static / "out").symlink_to(tmp_path / "panel" / "secret.txt")

    async def media(name: str) -> tuple[bytes, str]:
        return b"0123456789", "video/mp4"

    host = ScriptedHost(panels=(("demo", Panel(id="demo", title="Demo", static=static, media=media)),))
    return build_app(ScriptedRuntime(host=host), token=TOKEN, now=lambda: now[0])


@pytest.fixture
def client(app):
    with TestClient(app, base_url=ORIGIN) as client:
        yield client


@pytest.fixture
def entered(client):
    assert client.post("/api/enter", json={"token": TOKEN}, headers={"origin": ORIGIN}).status_code == 200
    return client


# -- HTTP -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "host",
    [
        "evil.example",
        "evil.example:8765",
        "127.0.0.1.evil.example:8765",
        "localhost@evil.example",
        "",
        "[::2]:8765",
        "a b",
    ],
)
def test_a_foreign_host_name_is_refused_even_with_the_token(client, host):
    response = client.get("/api/status", headers={"host": host, **BEARER})
    assert response.status_code == 403
    assert "name" in response.json()["error"]["message"]
    assert client.get("/", headers={"host": host}).status_code == 403


@pytest.mark.parametrize("host", ["127.0.0.1:8765", "localhost:8765", "LOCALHOST:8765", "[::1]:8765", "localhost"])
def test_the_names_of_this_machine_are_taken(client, host):
    assert client.get("/api/status", headers={"host": host, **BEARER}).status_code == 200


@pytest.mark.parametrize(
    "origin",
    [
        "http://evil.example",
        "null",
        "http://127.0.0.1:9999",
        "http://localhost:8765",
        "file://",
        "http://127.0.0.1:8765.evil",
    ],
)
def test_another_origin_is_refused(entered, origin):
    for response in (
        entered.get("/api/status", headers={"origin": origin}),
        entered.post("/api/config", json={}, headers={"origin": origin, **BEARER}),
    ):
        assert response.status_code == 403
        assert "Another site" in response.json()["error"]["message"]


def test_a_cross_site_read_is_refused_by_its_fetch_metadata(entered):
    assert entered.get("/api/status", headers={"sec-fetch-site": "cross-site"}).status_code == 403
    assert entered.get("/api/status", headers={"sec-fetch-site": "same-site"}).status_code == 403
    assert entered.get("/api/status", headers={"sec-fetch-site": "same-origin"}).status_code == 200


@pytest.mark.parametrize(
    "path", ["/api/status", "/api/plugins", "/api/config", "/api/models", "/api/conversations", "/api/cards",
             "/plugins/demo/static/panel.js", "/plugins/demo/media/x"],
)  # fmt: skip
def test_without_the_key_nothing_but_the_bare_page_is_served(client, path):
    response = client.get(path)
    assert response.status_code == 401
    assert response.json()["error"]["remedy"]
    assert client.get(path, headers={"authorization": "Bearer wrong"}).status_code == 401
    assert client.get(path, headers=BEARER).status_code == 200


def test_the_cookie_is_bound_to_the_browser_and_to_this_run(client):
    refused = client.post("/api/enter", json={"token": "another run's"}, headers={"origin": ORIGIN})
    assert refused.status_code == 403 and "set-cookie" not in refused.headers
    response = client.post("/api/enter", json={"token": TOKEN}, headers={"origin": ORIGIN})
    cookie = response.headers["set-cookie"].lower()
    assert "httponly" in cookie and "samesite=strict" in cookie and TOKEN not in cookie
    assert client.get("/api/status").status_code == 200
    # without an Origin it is no browser, and then the cookie alone changes nothing
    assert client.post("/api/models/pull", json={"model": "x"}).status_code == 401


def test_the_token_cannot_be_guessed_quickly(client, now):
    answers = [client.post("/api/enter", json={"token": f"guess {i}"}, headers={"origin": ORIGIN}) for i in range(20)]
    assert "Too many attempts" in answers[-1].json()["error"]["message"]
    late = client.post("/api/enter", json={"token": TOKEN}, headers={"origin": ORIGIN})
    assert late.status_code == 403  # even the right one waits now
    now[0] = 2.0
    assert client.post("/api/enter", json={"token": TOKEN}, headers={"origin": ORIGIN}).status_code == 200


def test_too_much_is_refused(entered):
    large = entered.post("/api/config", content=b"x" * 1_000_001, headers={"origin": ORIGIN})
    assert large.status_code == 413
    streamed = entered.post("/api/config", content=iter([b"x" * 600_000] * 3), headers={"origin": ORIGIN})
    assert streamed.status_code == 400 and "too large" in streamed.json()["error"]["message"]


def test_too_often_is_refused_until_a_second_has_passed(client, now):
    statuses = [client.get("/api/hello").status_code for _ in range(REQUESTS_AT_ONCE + 5)]
    assert statuses == [200] * REQUESTS_AT_ONCE + [429] * 5
    now[0] = 1.0
    statuses = [client.get("/api/hello").status_code for _ in range(REQUESTS_PER_S + 5)]
    assert statuses == [200] * REQUESTS_PER_S + [429] * 5


def test_the_headers_allow_nothing_from_elsewhere(client):
    response = client.get("/")
    policy = response.headers["content-security-policy"]
    assert "default-src 'none'" in policy and "script-src 'self';" in policy and "style-src 'self';" in policy
    assert "unsafe" not in policy and "frame-ancestors 'none'" in policy and f"ws://{HOST}" in policy
    assert response.headers["x-content-type-options"] == "nosniff"
    assert response.headers["referrer-policy"] == "no-referrer"
    assert response.headers["cross-origin-resource-policy"] == "same-origin"
    page = response.text
    assert "<style" not in page and "style=" not in page and "http://" not in page and "https://" not in page
    assert page.count("<script") == page.count('<script type="module" src="/static/')


def test_no_file_outside_a_plugins_static_folder_is_served(client):
    assert client.get("/plugins/demo/static/panel.js", headers=BEARER).status_code == 200
    for path in ("../secret.txt", "%2e%2e/secret.txt", "..%2fsecret.txt", "out", "/etc/passwd", "panel.js%00"):
        response = client.get(f"/plugins/demo/static/{path}", headers=BEARER)
        assert response.status_code == 404, path
        assert "secret" not in response.text
    assert client.get("/plugins/nobody/static/panel.js", headers=BEARER).status_code == 404
    for path in ("../app.py", "%2e%2e/app.py"):
        assert "Starlette" not in client.get(f"/static/{path}").text


def test_media_is_served_in_ranges_so_that_video_can_be_sought(client):
    whole = client.get("/plugins/demo/media/a/b.mp4", headers=BEARER)
    assert whole.content == b"0123456789" and whole.headers["accept-ranges"] == "bytes"
    part = client.get("/plugins/demo/media/a", headers={**BEARER, "range": "bytes=2-4"})
    assert (part.status_code, part.content, part.headers["content-range"]) == (206, b"234", "bytes 2-4/10")
    assert client.get("/plugins/demo/media/a", headers={**BEARER, "range": "bytes=-3"}).content == b"789"
    assert client.get("/plugins/demo/media/a", headers={**BEARER, "range": "bytes=99-"}).status_code == 416
    assert client.get("/plugins/demo/media/a", headers={**BEARER, "range": "bytes=x-y"}).status_code == 400


# -- WebSocket ----------------------------------------------------------------------------------------


def _refused(client, **kwargs) -> int:
    with pytest.raises(WebSocketDisconnect) as caught, client.websocket_connect("/ws", **kwargs):
        pass
    return caught.value.code


def test_a_websocket_needs_host_origin_and_key(client):
    assert _refused(client, headers={"host": HOST}) == 4403
    assert _refused(client, headers={"host": HOST, "origin": ORIGIN}) == 4403
    assert _refused(client, headers={"host": "evil.example", **BEARER}) == 4403
    assert _refused(client, headers={"host": HOST, "origin": "http://evil.example", **BEARER}) == 4403
    assert _refused(client, headers={"host": HOST}, subprotocols=["omni", "omni.token.wrong"]) == 4403
    with client.websocket_connect(
        "/ws", headers={"host": HOST}, subprotocols=["omni", f"omni.token.{TOKEN}"]
    ) as socket:
        assert socket.accepted_subprotocol == "omni"
        assert socket.receive_json()["type"] == "Welcome"
    with client.websocket_connect("/ws", headers={"host": HOST, **BEARER}) as socket:
        assert socket.receive_json()["type"] == "Welcome"


def test_the_cookie_opens_a_websocket_only_for_the_own_page(entered):
    cookie = {"host": HOST, "cookie": "; ".join(f"{k}={v}" for k, v in entered.cookies.items())}
    assert _refused(entered, headers=cookie) == 4403  # no Origin: no browser
    assert _refused(entered, headers={**cookie, "origin": "http://evil.example"}) == 4403
    assert _refused(entered, headers={**cookie, "origin": ORIGIN, "cookie": "omni-8765=wrong"}) == 4403
    with entered.websocket_connect("/ws", headers={**cookie, "origin": ORIGIN}) as socket:
        assert socket.receive_json()["type"] == "Welcome"


def test_a_bucket_takes_its_burst_then_its_rate():
    now = [0.0]
    bucket = TokenBucket(10.0, 5.0, lambda: now[0])
    assert [bucket.take() for _ in range(6)] == [True] * 5 + [False]
    now[0] = 0.1
    assert [bucket.take() for _ in range(2)] == [True, False]
    now[0] = 1000.0
    assert [bucket.take() for _ in range(6)] == [True] * 5 + [False]
