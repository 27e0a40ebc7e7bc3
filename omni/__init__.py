"""Omni: a local-first assistant that hears, sees, reads and acts.

This package is the kernel. It knows streams, turns, plugins, plans and files with hashes;
it imports no machine-learning library and no plugin.
"""

import os

__version__ = "0.1.0"

#: The version of the interface that plugins are written against (`omni_api` in a manifest).
API_VERSION = "1.0"

# Nothing leaves the machine unasked. ONNX Runtime tells its maker what it runs from its import on, out of C++ where no
# airgap of Python's reaches it, unless this is set before; whoever wants that sets it to 0.
for _silence in ("ORT_DISABLE_TELEMETRY", "HF_HUB_DISABLE_TELEMETRY", "DO_NOT_TRACK"):
    os.environ.setdefault(_silence, "1")

if os.environ.get("OMNI_AIRGAP") == "1":  # a process that an airgapped Omni started
    from omni.airgap import inherit

    inherit()
