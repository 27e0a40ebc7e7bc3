"""Every error that crosses a boundary: a sentence a user can act on.

An `OmniError` says what failed and on what input (`message`) and what to do about it (`remedy`).
Anything else that escapes a boundary is a bug.
"""

from __future__ import annotations


class OmniError(Exception):
    """Base of all errors Omni raises on purpose.

    `message` says what failed and on what input; `remedy` says what the user can do.
    `exit_code` is what a command ends with when this error reaches it.
    """

    exit_code = 1

    def __init__(self, message: str, remedy: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.remedy = remedy

    def __str__(self) -> str:
        return f"{self.message} {self.remedy}".strip()


class BadInput(OmniError):
    """What was handed in can't be used: a corrupt image, a NaN in the audio, an empty question."""

    exit_code = 2


class ConfigError(OmniError):
    """A setting is unknown, of the wrong type, or out of range."""

    exit_code = 2


class ManifestError(OmniError):
    """A plugin's manifest can't be read, or says something that can't be."""


class PluginError(OmniError):
    """A plugin failed: on import, on registration, in a call, or by silence."""


class Refused(OmniError):
    """A permission was not granted, or a person said no."""

    exit_code = 3


class CapabilityUnavailable(OmniError):
    """No healthy plugin offers what was asked for."""


class ModelError(OmniError):
    """A model can't be had, or its files are not what they should be."""


class ModelMissing(ModelError):
    """A model is not on this machine and could not be fetched."""


class ModelCorrupt(ModelError):
    """A model's file does not have the size or the sha256 the catalogue pins."""


class DeadlineExceeded(OmniError):
    """A call took longer than its deadline."""


class Airgapped(Refused):
    """A connection beyond this machine was attempted under `--airgap`."""


class Busy(OmniError):
    """Something is in use: a port, a folder, the one slot of a model."""


class DiskFull(OmniError):
    """There is not enough room for what is to be written."""
