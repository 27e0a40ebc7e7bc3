"""Imports a heavy library at the top of its module."""

import sys
import types

from unbroken import Plugin

# Stands for `import mediapipe`: a heavy library that none of the others looks for when it starts.
sys.modules.setdefault("mediapipe", types.ModuleType("mediapipe"))

plugin = Plugin()
