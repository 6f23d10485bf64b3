"""What is known of one key of a cache."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(slots=True, eq=False, repr=False)
class KnownKey:
    """What is known of a key, `as_of` a time.

    `there_since` is when it was stored or found, `None` if it is not there; `expires` the earliest time that
    its TTL can have run out, and `outlives` one when it surely had. `asking` is how many calls go on that
    have missed it, and `is_described` whether its request is among the earlier ones.
    """

    as_of: int
    there_since: int | None = None
    expires: int | None = None
    outlives: int | None = None
    asking: int = 0
    is_described: bool = False

    def is_there(self, now: int) -> None:
        self.as_of = now
        if self.there_since is None:
            self.there_since = now
