"""What the speech plugin registers."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from pathlib import Path

from omni.capabilities import Synthesizer, Transcriber, VoiceActivity
from omni.host.hookspecs import Check, Offer, PluginContext, StageOffer, hookimpl
from omni.worker import Worker
from omni_speech.doctor import checks
from omni_speech.kokoro import KokoroVoice
from omni_speech.listener import Listener
from omni_speech.phonemes import Phonemizer
from omni_speech.piper import PiperVoice
from omni_speech.transcriber import WhisperTranscriber
from omni_speech.voice_activity import SileroVoiceActivity
from omni_speech.voices import KOKORO, PIPER, ChosenVoice

_SMALL = "whisper-tiny"
_MODEL_OF = {PIPER: "piper-joe", KOKORO: "kokoro-82m"}


class SpeechPlugin:
    """Ears and voice."""

    @hookimpl
    def omni_capabilities(self, context: PluginContext) -> list[Offer]:
        """Voice activity, recognition, synthesis."""
        model = context.config.get("recogniser") or "whisper-base"
        voice_models = ("piper-joe", "misaki-english", "g2p-en")
        return [
            Offer(VoiceActivity, "silero", lambda: SileroVoiceActivity(_folder(context, "silero-vad")),
                  models=("silero-vad",)),
            Offer(Transcriber, "whisper", lambda: _transcriber(context, model), models=(model,), deadline_s=60.0),
            Offer(Synthesizer, "voice", lambda: _voice(context), models=voice_models),
        ]  # fmt: skip

    @hookimpl
    def omni_stages(self, context: PluginContext) -> list[StageOffer]:
        """The listener: one a session, with the capabilities whoever offers them best."""

        def listener() -> Listener:
            """A session's listener, over the capabilities of the host."""
            async def small() -> Transcriber:
                transcriber = _transcriber(context, _SMALL)
                await transcriber.open()
                return transcriber

            return Listener(
                context.host.get(VoiceActivity),
                context.host.get(Transcriber),
                small=small if context.models.state(_SMALL) == "installed" else None,
                hold=context.config.get("hold", True),
                language=_language(context),
            )

        return [StageOffer("listener", listener, role="turns")]

    @hookimpl
    def omni_doctor(self, context: PluginContext) -> list[Check]:
        """Sound devices and models."""
        return checks(context)


plugin = SpeechPlugin()


def _folder(context: PluginContext, model: str) -> Callable[[], Awaitable[Path]]:
    return lambda: context.models.path(model)


def _language(context: PluginContext) -> str:
    return context.config.get("language") or "en"


def _transcriber(context: PluginContext, model: str) -> WhisperTranscriber:
    return WhisperTranscriber(
        _folder(context, model),
        threads=context.config.get("threads") or 2,
        language=_language(context),
        vocabulary=context.config.get("vocabulary") or "",
    )


def _voice(context: PluginContext) -> ChosenVoice:
    made: list[Phonemizer] = []

    async def phonemizer() -> Phonemizer:
        if not made:
            lexicon, letters = await context.models.path("misaki-english"), await context.models.path("g2p-en")
            worker = Worker("dictionary")
            try:
                made.append(await worker.run(Phonemizer.load, lexicon, letters))
            finally:
                worker.close()
        return made[0]

    threads = context.config.get("threads") or 2
    speaker = context.config.get("speaker") or "af_heart"
    return ChosenVoice(
        {
            PIPER: lambda: PiperVoice(_folder(context, _MODEL_OF[PIPER]), phonemizer, threads=threads),
            KOKORO: lambda: KokoroVoice(
                _folder(context, _MODEL_OF[KOKORO]), phonemizer, threads=threads, voice=speaker
            ),
        },
        choice=context.config.get("voice") or "auto",
        memory=context.data / "voice.json",
        installed=lambda kind: context.models.state(_MODEL_OF[kind]) == "installed",
    )
