"""What `host.get` gives: opened once, with deadlines, breakers and fallbacks, and cancellation passed through."""

from __future__ import annotations

import asyncio
import time
from contextlib import aclosing

import numpy as np
import pytest

from omni.capabilities import ChatDelta, ChatModel, ChatRequest, Embedder, Reranker, VoiceActivity
from omni.clock import run_virtual
from omni.errors import BadInput, CapabilityUnavailable, DeadlineExceeded, ModelMissing, OmniError, PluginError
from omni.host import deadlines
from omni.host.hookspecs import Offer
from omni.host.host import Host
from omni.host.loader import Loaded
from omni.host.manifest import parse_manifest
from omni.host.records import PluginRecord

REQUEST = ChatRequest(messages=())


class Fake:
    """An implementation whose `answer` (a function or a coroutine function of the text count) is scripted."""

    def __init__(self, answer=None, *, opening=None, space="text"):
        self.answer = answer or (lambda texts: np.ones((len(texts), 2), np.float32))
        self.opening = opening
        self.space, self.dimension = space, 2
        self.opened = self.closed = self.calls = 0
        self.cancelled = False

    async def open(self):
        self.opened += 1
        if self.opening:
            await self.opening()

    async def close(self):
        self.closed += 1

    async def embed_text(self, texts, *, query=False):
        self.calls += 1
        try:
            answer = self.answer(texts)
            return await answer if asyncio.iscoroutine(answer) else answer
        except asyncio.CancelledError:
            self.cancelled = True
            raise

    async def embed_images(self, images):
        raise CapabilityUnavailable("This space has no images.")


class FakeChat:
    context_tokens, native_tools = 100, False

    def __init__(self, deltas):
        self.deltas = deltas
        self.closed = False

    async def open(self):
        pass

    async def close(self):
        pass

    async def chat(self, request):
        try:
            async for delta in self.deltas():
                yield delta
        finally:
            self.closed = True

    async def prefill(self, messages, *, slot):
        pass

    async def count_tokens(self, text):
        return len(text)


def host_with(tmp_path, **plugins):
    """A host into which plugins were admitted: id -> [Offer, ...]."""
    host = Host(None, None, tmp_path, found=[])
    for plugin, offers in plugins.items():
        names = "".join(f'\n[[capabilities]]\nprotocol = "{offer.capability.__name__}"' for offer in offers)
        manifest = parse_manifest(f'id = "{plugin}"\nversion = "1"\nomni_api = ">=1"\nentry = "x.y:z"{names}')
        host.supervisor.records[plugin] = PluginRecord(plugin, plugin, "1", manifest=manifest)
        host._admit(plugin, Loaded(manifest, offers))
    return host


def embedder(fake, **more):
    return Offer(Embedder, more.pop("id", "fake"), lambda: fake, **more)


def fails(error):
    def answer(texts):
        raise error

    return answer


def test_many_callers_open_once(tmp_path):
    async def main():
        fake = Fake(opening=lambda: asyncio.sleep(3))
        proxy = host_with(tmp_path, a=[embedder(fake)]).get(Embedder)
        impatient = asyncio.create_task(proxy.embed_text(["x"]))
        await asyncio.sleep(1)
        impatient.cancel()  # one that gives up does not stop the opening for the others
        await asyncio.gather(*(proxy.embed_text(["x"]) for _ in range(10)))
        assert (fake.opened, fake.calls) == (1, 10)
        assert asyncio.get_running_loop().time() == pytest.approx(3)

    run_virtual(main())


def test_nothing_is_made_before_the_first_use(tmp_path):
    async def main():
        made = []
        offer = Offer(Embedder, "lazy", lambda: made.append(1) or Fake())
        proxy = host_with(tmp_path, a=[offer]).get(Embedder)
        assert made == []
        assert proxy.dimension == 2
        assert isinstance(proxy, Embedder)
        assert made == [1]

    run_virtual(main())


def test_get_is_cheap(tmp_path):
    async def main():
        host = host_with(tmp_path, a=[embedder(Fake(), features={"space": "text"})])
        start = time.thread_time()
        for _ in range(10_000):
            host.get(Embedder, space="text")
        assert (time.thread_time() - start) / 10_000 < 50e-6

    asyncio.run(main())


def test_a_call_ends_at_its_deadline_even_when_the_plugin_ignores_it(tmp_path):
    async def main():
        async def stubborn(texts):
            while loop.time() < 100:
                try:
                    await asyncio.sleep(1000)
                except asyncio.CancelledError:
                    await asyncio.sleep(120)

        loop = asyncio.get_running_loop()
        proxy = host_with(tmp_path, a=[embedder(Fake(lambda texts: stubborn(texts)), deadline_s=5)]).get(Embedder)
        with pytest.raises(DeadlineExceeded, match=r"a/fake .embed_text. took longer than 5 s"):
            await proxy.embed_text(["x"])
        assert loop.time() == pytest.approx(5 + deadlines.GRACE_S)
        assert len(deadlines.abandoned) == 1
        await asyncio.sleep(300)
        assert not deadlines.abandoned

    run_virtual(main())


def test_cancellation_reaches_the_plugin_and_is_no_failure(tmp_path):
    async def main():
        fake = Fake(lambda texts: asyncio.sleep(1000))
        host = host_with(tmp_path, a=[embedder(fake)])
        task = asyncio.create_task(host.get(Embedder).embed_text(["x"]))
        await asyncio.sleep(1)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert fake.cancelled
        assert host.offers(Embedder)[0].breaker.failures == 0

    run_virtual(main())


@pytest.mark.parametrize(
    "error", [ValueError("odd"), SystemExit(3), MemoryError(), PluginError("x"), ModelMissing("y")]
)
def test_a_failing_plugin_is_replaced_by_the_next_offer_in_the_same_call(tmp_path, error):
    async def main():
        bad, good = Fake(fails(error)), Fake()
        host = host_with(tmp_path, bad=[embedder(bad, priority=9)], good=[embedder(good)])
        assert (await host.get(Embedder).embed_text(["x"])).shape == (1, 2)
        assert (bad.calls, good.calls) == (1, 1)

    run_virtual(main())


def test_a_plugin_whose_model_is_missing_is_replaced(tmp_path):
    async def main():
        async def missing():
            raise ModelMissing("The model is not here.")

        host = host_with(tmp_path, bad=[embedder(Fake(opening=missing), priority=9)], good=[embedder(Fake())])
        assert (await host.get(Embedder).embed_text(["x"])).shape == (1, 2)

    run_virtual(main())


def test_the_callers_own_mistake_is_told_at_once(tmp_path):
    async def main():
        other = Fake()
        host = host_with(tmp_path, a=[embedder(Fake(fails(BadInput("NaN."))), priority=1)], b=[embedder(other)])
        with pytest.raises(BadInput):
            await host.get(Embedder).embed_text(["x"])
        assert other.calls == 0
        assert host.offers(Embedder)[0].breaker.failures == 0

    run_virtual(main())


def test_a_wrong_answer_is_a_plugin_error(tmp_path):
    async def main():
        proxy = host_with(tmp_path, a=[embedder(Fake(lambda texts: {"no": "array"}))]).get(Embedder)
        with pytest.raises(PluginError, match="answered embed_text with dict where ndarray is due"):
            await proxy.embed_text(["x"])

    run_virtual(main())


def test_the_breaker_opens_after_three_failures_and_tries_again_later(tmp_path):
    async def main():
        fake = Fake(fails(ValueError("odd")))
        host = host_with(tmp_path, a=[embedder(fake)])
        proxy = host.get(Embedder)
        for _ in range(3):
            with pytest.raises(PluginError, match="ValueError: odd"):
                await proxy.embed_text(["x"])
        assert host.plugins()[0].state == "degraded"
        with pytest.raises(CapabilityUnavailable, match=r"failed 3 times.*tried again in 1 s"):
            await proxy.embed_text(["x"])
        assert fake.calls == 3
        await asyncio.sleep(1.1)
        fake.answer = lambda texts: np.ones((1, 2), np.float32)
        await proxy.embed_text(["x"])
        assert host.plugins()[0].state == "ready"

    run_virtual(main())


def test_the_breakers_pause_doubles(tmp_path):
    async def main():
        fake = Fake(fails(ValueError("odd")))
        provider = host_with(tmp_path, a=[embedder(fake)]).offers(Embedder)[0]
        waits = []
        for _ in range(9):
            provider.failed(PluginError("odd"))
            waits.append(round(provider.breaker.wait_s(), 3))
        assert waits == [0, 0, 1, 2, 4, 8, 16, 32, 60]

    run_virtual(main())


def test_features_choose_the_offer(tmp_path):
    async def main():
        text, both = Fake(), Fake(space="image-text")
        host = host_with(
            tmp_path,
            a=[embedder(text, features={"space": "text"}, priority=5)],
            b=[embedder(both, features={"space": ["image-text", "text"]})],
        )
        await host.get(Embedder, space="image-text").embed_text(["x"])
        assert both.calls == 1
        await host.get(Embedder, space="text").embed_text(["x"])
        assert text.calls == 1
        await host.get(Embedder, plugin="b").embed_text(["x"])
        assert both.calls == 2
        with pytest.raises(CapabilityUnavailable, match="space=audio"):
            host.get(Embedder, space="audio")
        with pytest.raises(CapabilityUnavailable, match=r"No plugin offers reranking."):
            host.get(Reranker)

    run_virtual(main())


def test_a_stream_has_a_deadline_for_each_item(tmp_path):
    async def main():
        async def deltas():
            for text in "abc":
                await asyncio.sleep(4)  # each within the deadline, all together beyond it
                yield ChatDelta(text=text)
            await asyncio.sleep(1000)

        chat = FakeChat(deltas)
        proxy = host_with(tmp_path, a=[Offer(ChatModel, "c", lambda: chat, deadline_s=5)]).get(ChatModel)
        got = []
        with pytest.raises(DeadlineExceeded, match="gave nothing for 5 s"):
            async for delta in proxy.chat(REQUEST):
                got.append(delta.text)
        assert got == ["a", "b", "c"]
        assert chat.closed

    run_virtual(main())


def test_closing_a_stream_stops_its_source_at_once(tmp_path):
    async def main():
        async def deltas():
            while True:
                await asyncio.sleep(0.01)
                yield ChatDelta(text="x")

        chat = FakeChat(deltas)
        proxy = host_with(tmp_path, a=[Offer(ChatModel, "c", lambda: chat)]).get(ChatModel)
        async with aclosing(proxy.chat(REQUEST)) as stream:
            await anext(stream)
            before = asyncio.get_running_loop().time()
        assert chat.closed
        assert asyncio.get_running_loop().time() - before < 0.05

    run_virtual(main())


def test_a_stream_falls_back_before_its_first_item_only(tmp_path):
    async def main():
        async def early():
            raise ValueError("at once")
            yield

        async def late():
            yield ChatDelta(text="half")
            raise ValueError("later")

        async def good():
            yield ChatDelta(text="whole", finish="stop")

        def offers(source):
            return {
                "bad": [Offer(ChatModel, "c", lambda: FakeChat(source), priority=9)],
                "good": [Offer(ChatModel, "c", lambda: FakeChat(good))],
            }

        proxy = host_with(tmp_path / "1", **offers(early)).get(ChatModel)
        assert [delta.text async for delta in proxy.chat(REQUEST)] == ["whole"]
        proxy = host_with(tmp_path / "2", **offers(late)).get(ChatModel)
        got = []
        with pytest.raises(PluginError, match="later"):
            async for delta in proxy.chat(REQUEST):
                got.append(delta.text)
        assert got == ["half"]

    run_virtual(main())


def test_a_sync_method_needs_an_open_offer(tmp_path):
    class Vad:
        async def open(self):
            pass

        async def close(self):
            pass

        def detector(self):
            return "detector"

    async def main():
        proxy = host_with(tmp_path, a=[Offer(VoiceActivity, "v", Vad)]).get(VoiceActivity)
        with pytest.raises(CapabilityUnavailable, match="not open yet"):
            proxy.detector()
        await proxy.open()
        assert proxy.detector() == "detector"

    run_virtual(main())


def test_stop_closes_what_was_opened_once_and_nothing_else(tmp_path):
    async def main():
        used, unused = Fake(), Fake()
        host = host_with(tmp_path, a=[embedder(used, priority=1)], b=[embedder(unused)])
        await host.get(Embedder).embed_text(["x"])
        await host.stop()
        await host.stop()
        assert (used.closed, unused.opened, unused.closed) == (1, 0, 0)
        with pytest.raises(OmniError):
            await host.get(Embedder).embed_text(["x"])

    run_virtual(main())


def test_a_capability_without_a_healthy_plugin_says_why(tmp_path):
    async def main():
        host = host_with(tmp_path, speech=[embedder(Fake())])
        host.supervisor.set_state("speech", "quarantined", "its stage failed 5 times.")
        with pytest.raises(CapabilityUnavailable, match=r"'speech' is quarantined. its stage failed 5 times"):
            host.get(Embedder)

    run_virtual(main())
