"""The page about a plugin with packages of its own: MediaPipe with its old numpy beside Omni's new one."""

from __future__ import annotations

import asyncio
import importlib.util
import io
import os
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from omni.bus import Overflow
from omni.events import Custom, SessionClosed, VideoFrame
from omni.host.discovery import discover
from omni.host.host import Host
from omni.host.overview import overview
from omni.host.registry import Registry
from omni.host.scaffold import create
from omni.session import Session

ROOT = Path(__file__).resolve().parent.parent
PAGE = ROOT / "docs/plugins/own_environment.md"


@pytest.fixture
def project(tmp_path) -> Path:
    """The project as a reader of the page makes it."""
    made = create("Presence", "stage", tmp_path)
    for title, text in re.findall(r"^```\w+ title=\"([^\"]+)\"\n(.*?)^```$", PAGE.read_text(), re.M | re.S):
        assert (made / title).is_file(), "the template has another name for it"
        (made / title).write_text(text, encoding="utf-8")
    return made


async def test_from_source_it_is_refused_with_the_command_that_installs_it(project, tmp_path):
    host = Host(None, None, tmp_path / "data", only=["presence"], sources=[project])
    await host.start()
    record = next(one for one in host.plugins() if one.id == "presence")
    await host.stop()
    assert record.state == "refused" and "omni plugin install" in record.reason
    (listed,) = [one for one in overview(tmp_path / "data2", [project]) if one.id == "presence"]
    assert (listed.state, listed.reason) == (record.state, record.reason)
    assert record.manifest.environment.requirements == ("mediapipe==0.10.21", "numpy<2")


def test_its_code_registers_what_the_manifest_announces_and_imports_nothing_heavy(project):
    before = set(sys.modules)
    spec = importlib.util.spec_from_file_location("presence_of_the_page", project / "omni_presence/plugin.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    assert [offer.name for offer in module.plugin.omni_stages()] == ["faces"]
    assert not {"mediapipe", "cv2"} & (set(sys.modules) - before)


def jpeg(picture: np.ndarray) -> bytes:
    from PIL import Image

    data = io.BytesIO()
    Image.fromarray(picture).save(data, "JPEG", quality=90)
    return data.getvalue()


@pytest.mark.slow
async def test_mediapipe_counts_faces_beside_another_numpy(project, tmp_path):
    if os.environ.get("OMNI_TEST_MEDIAPIPE") != "1":
        pytest.skip("MediaPipe and what it needs are 1 GB: set OMNI_TEST_MEDIAPIPE=1")
    from skimage.data import astronaut

    environment = {**os.environ, "OMNI_HOME": str(tmp_path / "home")}
    command = [sys.executable, "-m", "omni.cli.main", "plugin", "install", str(project), "--yes"]
    done = await asyncio.to_thread(subprocess.run, command, env=environment, capture_output=True, text=True)
    assert done.returncode == 0 and "see the camera (enforced)" in done.stdout, done.stderr
    home = tmp_path / "home/data"
    found = [one for one in discover((), Registry.read(home).environments()) if one.id == "presence"]
    assert list((home / "environments/presence").glob("lib/python*/site-packages/numpy-1.*"))
    assert np.__version__.startswith("2.")
    host = Host(None, None, home, only=["presence"], found=found)
    await host.start()
    try:
        session = Session(host=host)
        heard = session.bus.subscribe(Custom, capacity=8, overflow=Overflow.LATEST, name="test")
        running = asyncio.ensure_future(host.run_stages(session))
        face = astronaut()[:400]
        for picture, faces in ((face, 1), (np.full_like(face, 128), 0), (np.hstack([face, face]), 2)):
            said = asyncio.ensure_future(heard.get())
            async with asyncio.timeout(60):
                while not said.done():
                    session.publish(VideoFrame, source="camera", image=jpeg(picture), width=512, height=400)
                    await asyncio.wait((said,), timeout=0.1)
            assert said.result().payload == {"count": faces}
        session.publish(SessionClosed)
        await asyncio.wait_for(running, 10)
    finally:
        await host.stop()
