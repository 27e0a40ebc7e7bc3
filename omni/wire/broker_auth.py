"""Who may enter the embedded broker: whoever knows its one name and password."""

from __future__ import annotations

import hmac
from dataclasses import dataclass

from amqtt.plugins.base import BaseAuthPlugin
from amqtt.session import Session


class OnePassword(BaseAuthPlugin):
    """amqtt's plugin for one name and one password."""

    @dataclass
    class Config:
        """What the broker is started with."""

        username: str = ""
        password: str = ""

    async def authenticate(self, *, session: Session) -> bool:
        """Whether the name and the password are right."""
        name = hmac.compare_digest((session.username or "").encode(), self.config.username.encode())
        return hmac.compare_digest((session.password or "").encode(), self.config.password.encode()) and name
