"""What the eyes offer the host."""

from __future__ import annotations

from omni.capabilities import Embedder, TextReader, VisionModel
from omni.host.hookspecs import Check, Offer, PluginContext, hookimpl


class VisionPlugin:
    """Registration only: nothing is loaded here."""

    @hookimpl
    def omni_capabilities(self, context: PluginContext) -> list[Offer]:
        """Eyes: text, scenes, and images in the spaces of meaning."""
        from omni_vision.composed import MODELS, ComposedVision
        from omni_vision.conse import TextSpaceImages
        from omni_vision.dual_encoder import DualEncoder
        from omni_vision.label_space import LabelSpace
        from omni_vision.pooled import PooledFeatures
        from omni_vision.reader import RapidReader
        from omni_vision.vlm import VlmVision, load
        from omni_vision.vocabulary import Vocabulary

        reader = RapidReader(int(context.config.get("threads", 2)))

        vlm_model = str(context.config.get("vlm_model", "smolvlm-256m"))
        preferred = context.config.get("engine", "composed")
        composed = ComposedVision(context.models.path, context.data, context.host, reader)
        vocabulary = Vocabulary(context.host, context.data)

        return [
            Offer(TextReader, "rapidocr", lambda: reader, deadline_s=120),
            Offer(
                VisionModel,
                "composed",
                lambda: composed,
                priority=10,
                features={"engine": "composed"},
                deadline_s=120,
                models=MODELS,
            ),
            Offer(
                VisionModel,
                "vlm",
                lambda: VlmVision(lambda: context.models.path(vlm_model), load),
                priority=20 if preferred == "vlm" else 0,
                features={"engine": "vlm"},
                deadline_s=300,
                models=(vlm_model,),
            ),
            Offer(
                Embedder,
                "conse",
                lambda: TextSpaceImages(vocabulary, composed.spread),
                priority=-10,  # whoever asks for text alone gets the text model
                features={"space": "text", "images": True, "dimension": 384},
                deadline_s=300,
                models=MODELS,
            ),
            Offer(
                Embedder,
                "labels",
                lambda: LabelSpace(vocabulary, composed.spread),
                priority=-10,
                features={"space": "labels", "images": True, "dimension": 1092},
                deadline_s=300,
                models=MODELS,
            ),
            Offer(
                Embedder,
                "pooled",
                lambda: PooledFeatures(composed.spread),
                features={"space": "image-features", "images": True, "dimension": 1280},
                deadline_s=300,
                models=MODELS,
            ),
            Offer(
                Embedder,
                "tinyclip",
                lambda: DualEncoder(context.models.path),
                features={"space": "image-text", "images": True, "dimension": 512},
                deadline_s=300,
                models=("tinyclip-8m",),
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
