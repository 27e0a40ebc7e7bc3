"""Speech to text: Whisper on CTranslate2, encoding only what was said.

Whisper was trained on windows of 30 s and its libraries pad to that, so a two-second sentence costs as
much as half a minute. The encoder is a plain transformer over positions from 0: given the
log-mel frames of the utterance and one second of silence it produces the same states for
a fraction of the cost. In a very short window the decoder tends to repeat itself, so no window is
shorter than four seconds, times are asked for, and what still looks repeated is recognised again in a longer one.
"""

from __future__ import annotations

import math
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from omni.capabilities import Audio, Transcript, Word
from omni.errors import BadInput, ModelMissing
from omni.worker import Ticket, Worker
from omni_speech.doubt import is_hallucination, is_repetition
from omni_speech.pieces import split_at_pauses

RATE = 16_000
#: Silence after the utterance, in seconds: enough that the decoder ends instead of repeating itself.
PADDING_S = 1.0
#: Windows in seconds, tried in turn while the text repeats itself: the first holds at least the utterance and
#: its padding. Measured: at 4 s short commands no longer loop, and 8 s mends most of what still does.
WINDOWS_S = (4.0, 8.0, 30.0)
#: Windows are rounded up to this. For each length that it meets, oneDNN compiles the convolutions anew (3 ms) and
#: keeps them (1.4 MB), a thousand of them: left to itself, an hour of talk costs hundreds of megabytes.
STEP_S = 0.25
#: The longest piece given to the model at once; the window is 30 s.
PIECE_S = 28.0
#: Quieter than this (root mean square of -1..1) is silence whatever the model may read into it.
SILENCE_RMS = 1e-4
_WINDOW_FRAMES = 3000  # 30 s of 10 ms


@dataclass(slots=True)
class _Piece:
    """What one window gave."""

    text: str
    words: tuple[Word, ...]
    logprob: float
    no_speech: float
    tokens: int
    language: str


class WhisperTranscriber:
    """The `Transcriber` capability on one worker thread.

    `folder` gives the model's files (CTranslate2 format). `language` is used where a call names none;
    "auto" asks the model. `vocabulary` are names and words it should expect to hear. `full_window`
    switches the short encoder off (what the library does by itself), for comparison.
    """

    def __init__(
        self,
        folder: Callable[[], Awaitable[Path]],
        *,
        threads: int = 2,
        language: str = "en",
        vocabulary: str = "",
        full_window: bool = False,
    ) -> None:
        self._folder = folder
        self._threads = threads
        self._language = language
        self._vocabulary = vocabulary
        self._full_window = full_window
        self._worker: Worker | None = None
        self._model: Any = None
        self._tokenizers: dict[str, Any] = {}

    async def open(self) -> None:
        """Load the model and run it once, so that the first sentence costs what the others cost."""
        if self._model is not None:
            return
        folder = await self._folder()
        self._worker = Worker("asr")
        self._model = await self._worker.run(self._load, folder)
        await self.transcribe(np.random.default_rng(0).normal(0, 0.01, RATE).astype(np.float32))

    async def close(self) -> None:
        """Give the memory back. Idempotent."""
        if self._worker is not None:
            self._worker.close()
        self._worker = self._model = None
        self._tokenizers.clear()

    async def transcribe(
        self, audio: Audio, *, prompt: str = "", words: bool = False, language: str | None = None
    ) -> Transcript:
        """Recognise 16 kHz `audio` (shape [samples], any length).

        `words` asks for word times (one more pass); `prompt` is what was said before.
        Raises `BadInput` on samples that are no numbers.
        """
        if self._worker is None:
            raise ModelMissing("The recogniser was used before its model was loaded.", "Call open() first.")
        audio = checked(audio)
        return await self._worker.run_steps(self._transcribe, audio, prompt, words, language or self._language)

    # -- in the worker's thread -----------------------------------------------------------------

    def _load(self, folder: Path) -> Any:
        from faster_whisper import WhisperModel

        if not (folder / "model.bin").is_file():
            raise ModelMissing(f"There is no model.bin in {folder}.", f"Run: omni models pull {folder.name}")
        return WhisperModel(
            str(folder), device="cpu", compute_type="int8", cpu_threads=self._threads, local_files_only=True
        )

    def _tokenizer(self, language: str) -> Any:
        if language not in self._tokenizers:
            from faster_whisper.tokenizer import Tokenizer

            multilingual = self._model.model.is_multilingual
            self._tokenizers[language] = Tokenizer(self._model.hf_tokenizer, multilingual, "transcribe", language)
        return self._tokenizers[language]

    def _transcribe(
        self, ticket: Ticket, audio: Audio, prompt: str, words: bool, language: str
    ) -> Transcript:
        if audio.size < RATE // 20 or float(np.sqrt(np.mean(audio * audio))) < SILENCE_RMS:
            return Transcript("", no_speech=1.0, confidence=0.0)
        parts: list[_Piece] = []
        found: list[Word] = []
        for start, end in split_at_pauses(audio, RATE, PIECE_S):
            ticket.check()
            before = " ".join([prompt, *(p.text for p in parts)]).strip()[-200:]
            part = self._recognise(ticket, audio[start:end], before, words, language)
            offset = start / RATE
            found.extend(Word(w.text, w.start + offset, w.end + offset, w.probability) for w in part.words)
            parts.append(part)
            language = part.language
        weight = sum(p.tokens for p in parts) or 1
        logprob = sum(p.logprob * p.tokens for p in parts) / weight
        return Transcript(
            text=" ".join(p.text for p in parts if p.text),
            words=tuple(found),
            language=language,
            confidence=float(np.exp(logprob)) if any(p.text for p in parts) else 0.0,
            no_speech=min(p.no_speech for p in parts),
        )

    def _recognise(self, ticket: Ticket, audio: Audio, prompt: str, words: bool, language: str) -> _Piece:
        """One piece of at most 28 s; again in a longer window while it repeats itself."""
        seconds = audio.size / RATE
        needed = math.ceil((seconds + PADDING_S) / STEP_S) * STEP_S
        windows = [max(needed, WINDOWS_S[0]), *(w for w in WINDOWS_S[1:] if w > max(needed, WINDOWS_S[0]))]
        if self._full_window:
            windows = windows[-1:]
        for attempt, window in enumerate(windows):
            ticket.check()
            encoded = self._encode(audio, window)
            if language == "auto":
                language = self._detect(encoded)
            careful = attempt > 0 and window is windows[-1]
            piece, tokens = self._decode(encoded, seconds, "" if attempt else prompt, language, careful=careful)
            if not is_repetition(piece.text, seconds):
                break
        if is_hallucination(piece.text, piece.logprob, piece.no_speech, seconds):
            return _Piece("", (), piece.logprob, max(piece.no_speech, 0.9), piece.tokens, language)
        if words and tokens:
            ticket.check()
            piece.words = self._align(encoded, tokens, min(audio.size // 160, _WINDOW_FRAMES), language)
        return piece

    def _encode(self, audio: Audio, window_s: float) -> Any:
        """The encoder's states, shape [1, frames / 2, width], for the audio padded with silence to the window."""
        padded = np.zeros(max(int(window_s * RATE), audio.size), np.float32)
        padded[: audio.size] = audio
        features = self._model.feature_extractor(padded)
        length = min(features.shape[-1] - features.shape[-1] % 2, _WINDOW_FRAMES)
        return self._model.encode(np.ascontiguousarray(features[:, :length]))

    def _detect(self, encoded: Any) -> str:
        if not self._model.model.is_multilingual:
            return "en"
        token, _ = self._model.model.detect_language(encoded)[0][0]
        return token[2:-2]

    def _decode(
        self, encoded: Any, seconds: float, prompt: str, language: str, *, careful: bool = False
    ) -> tuple[_Piece, list[int]]:
        """Greedy decoding, bounded by what can be said in that time; `careful` forbids repeated phrases.

        The model writes times among its words: it then ends where the speech ends, where without them it
        repeats a sentence in one of five short windows.
        """
        tokenizer = self._tokenizer(language)
        before = " ".join(part for part in (self._vocabulary, prompt) if part)
        given = tokenizer.encode(" " + before.strip()) if before else []
        start = self._model.get_prompt(tokenizer, given)
        result = self._model.model.generate(
            encoded,
            [start],
            beam_size=1,
            max_length=min(len(start) + 16 + int(7 * seconds), self._model.max_length),
            return_scores=True,
            return_no_speech_prob=True,
            no_repeat_ngram_size=4 if careful else 0,
            repetition_penalty=1.1 if careful else 1.0,
        )[0]
        tokens = _within(result.sequences_ids[0], tokenizer.timestamp_begin, tokenizer.eot, seconds)
        logprob = result.scores[0] * len(result.sequences_ids[0]) / (len(result.sequences_ids[0]) + 1)
        text = tokenizer.decode(tokens).strip()
        return _Piece(text, (), float(logprob), float(result.no_speech_prob), len(tokens), language), tokens

    def _align(self, encoded: Any, tokens: list[int], frames: int, language: str) -> tuple[Word, ...]:
        """Word times by the cross-attention's dynamic time warping."""
        found = self._model.find_alignment(self._tokenizer(language), [tokens], encoded, frames)
        return tuple(
            Word(w["word"].strip(), float(w["start"]), float(w["end"]), float(w["probability"]))
            for w in found[0]
            if w["word"].strip()
        )


def _within(tokens: list[int], first_time: int, end: int, seconds: float) -> list[int]:
    """The text tokens of the segments that begin before the audio ends: what begins later was made up."""
    kept: list[int] = []
    for token in tokens:
        if token >= first_time:
            if kept and (token - first_time) * 0.02 >= seconds + 0.3:
                break
        elif token < end:
            kept.append(token)
    return kept


def checked(audio: Audio) -> Audio:
    """Mono float32 within -1..1. Raises `BadInput` on another shape or on samples that are no numbers."""
    if audio.ndim != 1:
        raise BadInput(f"Speech is mono, shape [samples]; this has shape {list(audio.shape)}.", "Mix it down first.")
    audio = audio.astype(np.float32, copy=False)
    bad = int(audio.size - np.isfinite(audio).sum())
    if bad:
        raise BadInput(f"{bad} of {audio.size} samples are not numbers.", "Check the decoder or device it came from.")
    return np.clip(audio, -1.0, 1.0)
