"""What `omni doctor` says about hearing and speaking."""

from __future__ import annotations

from omni.host.hookspecs import Check, PluginContext

_NEEDED = ("silero-vad", "whisper-base", "piper-joe", "misaki-english", "g2p-en")


def checks(context: PluginContext) -> list[Check]:
    """The models and the sound devices. The page brings its own microphone, so a missing device is no failure."""
    found = []
    for model in _NEEDED:
        state = context.models.state(model)
        found.append(Check(f"model {model}", state == "installed", state, f"Run: omni models pull {model}"))
    found.append(_devices())
    return found


def _devices() -> Check:
    from omni_speech.devices import device_names

    names, problem = device_names()
    if problem:
        return Check("sound devices", True, f"none of its own ({problem}); the page uses the browser's", problem)
    return Check("sound devices", True, ", ".join(names[:4]))
