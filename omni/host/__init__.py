"""The plugin host: manifest first, one plugin at a time, failures contained.

What a plugin needs stands in `omni.host.hookspecs`; who runs plugins uses `omni.host.host.Host`.
"""
