"""Models as files with hashes: what there is, where it comes from, and whether it is whole."""

from omni.catalogue.entries import Catalogue, ModelEntry
from omni.catalogue.store import ModelStore
from omni.catalogue.transfer import Progress

__all__ = ["Catalogue", "ModelEntry", "ModelStore", "Progress"]
