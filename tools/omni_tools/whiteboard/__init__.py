"""The whiteboard: what is drawn on it, how it is exported, and how a problem is solved on it step by step."""
