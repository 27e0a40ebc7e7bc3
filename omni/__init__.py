"""Omni: a local-first assistant that hears, sees, reads and acts.

This package is the kernel. It knows streams, turns, plugins, plans and files with hashes;
it imports no machine-learning library and no plugin.
"""

import os

__version__ = "0.1.0"

#: The version of the interface that plugins are written against (`omni_api` in a manifest).
API_VERSION = "1.0"

if os.environ.get("OMNI_AIRGAP") == "1":  # a process that an airgapped Omni started
    from omni.airgap import inherit

    inherit()
