"""What the eyes offer the host."""

from __future__ import annotations

from typing import Any

from omni.capabilities import TextReader, VisionModel
from omni.host.hookspecs import Check, Offer, PluginContext, hookimpl


class VisionPlugin:
    """Registration only: nothing is loaded here."""

    @hookimpl
    def omni_capabilities(self, context: PluginContext) -> list[Offer]:
        from omni_vision.composed import MODELS, ComposedVision
        from omni_vision.reader import RapidReader

        reader = RapidReader(int(context.config.get("threads", 2)))

        def composed() -> Any:
            return ComposedVision(context.models.path, context.data, context.host, reader)

        return [
            Offer(TextReader, "rapidocr", lambda: reader, deadline_s=120),
            Offer(
                VisionModel,
                "composed",
                composed,
                priority=10,
                features={"engine": "composed"},
                deadline_s=120,
                models=MODELS,
            ),
        ]

    @hookimpl
    def omni_doctor(self, context: PluginContext) -> list[Check]:
        from omni_vision.reader import bundled_models

        models = bundled_models()
        return [
            Check(
                "text in images",
                len(models) >= 2,
                f"{len(models)} of the 2 models of rapidocr are there",
                "Install it again: pip install --force-reinstall 'rapidocr>=3.10,<4'",
            )
        ]


plugin = VisionPlugin()
