"""How much of anything is taken: a token bucket, and the rates that go with it."""

from __future__ import annotations

import time
from collections.abc import Callable


class TokenBucket:
    """`rate` a second, `burst` at once. `take()` says whether one more may pass."""

    def __init__(self, rate: float, burst: float, now: Callable[[], float] = time.monotonic) -> None:
        self.rate = rate
        self.burst = burst
        self._now = now
        self._tokens = burst
        self._at = now()

    def take(self, amount: float = 1.0) -> bool:
        """Take `amount` tokens if they are there."""
        now = self._now()
        self._tokens = min(self.burst, self._tokens + (now - self._at) * self.rate)
        self._at = now
        if self._tokens < amount:
            return False
        self._tokens -= amount
        return True


class SessionLimits:
    """What one page may send. After a stall of the line a burst of sound arrives at once, so bursts are wide."""

    def __init__(self, messages_per_s: float = 400.0, now: Callable[[], float] = time.monotonic) -> None:
        self.sound = TokenBucket(60.0, 600.0, now)  #: microphone frames; 50 a second is real time
        self.pictures = TokenBucket(5.0, 10.0, now)
        self.messages = TokenBucket(min(60.0, messages_per_s), 240.0, now)
        self.everything = TokenBucket(messages_per_s, 2 * messages_per_s, now)
        self.complaints = TokenBucket(1.0, 5.0, now)  #: error messages to the page, so that garbage is not amplified
