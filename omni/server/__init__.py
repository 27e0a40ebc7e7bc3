"""The local web app: HTTP, one WebSocket, security, and the page without a build step."""

from omni.server.app import build_app
from omni.server.serve import serve

__all__ = ["build_app", "serve"]
