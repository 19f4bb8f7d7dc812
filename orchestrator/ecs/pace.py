"""How long a watch waits between two looks at ECS. Pure: it is told the time, and what happened.

A look every 1.9 s while there is news, every 2.6 s without, and then in proportion to how long the rollout takes: nobody minds
5 s after five minutes. Each call costs a token; one service has a few of them to spare and gets 0.39 a second, so that it costs
at most 30 calls in any 60 s while ECS answers, whatever happens. 100 services in one watch are five calls a look, far from the
20 a second that the account has (https://docs.aws.amazon.com/AmazonECS/latest/APIReference/request-throttling.html).
"""

from __future__ import annotations

_FIRST_S = 1.0
_BUSY_S = 1.9
_BUSY_FOR_S = 25.0
_SHARE = 1 / 40
_SLOWEST_S = 5.0
# A look that was paid for with one token may cost three: 5.5 + 60 * 0.39 + 2 < 31.
_SPARE_CALLS = 5.5
_CALLS_A_S = 0.39
_THROTTLED_S = 10.0
_MOST_THROTTLED_S = 30.0


class Pace:
    """The pace of one watch, which follows `followed` services side by side."""

    def __init__(self, now: float) -> None:
        self.followed = 0
        self._began_at = self._news_at = self._paid_at = now
        self._is_first = True
        self._tokens = 0.0
        self._throttled_s = 0.0

    def begin(self, now: float, *, followed: int) -> None:
        """A rollout has just begun, or will end otherwise than it began: the next looks come soon."""
        self._earn(now)
        self._tokens += _SPARE_CALLS * max(followed - self.followed, 0)
        self.followed = followed
        self._began_at, self._is_first = now, True
        self.news(now)

    def news(self, now: float) -> None:
        """Something changed."""
        self._news_at = now

    def called(self, now: float) -> None:
        """One more call was made."""
        self._earn(now)
        self._tokens -= 1.0

    def throttled(self) -> None:
        """AWS asks for fewer calls."""
        self._throttled_s = min(max(self._throttled_s * 2, _THROTTLED_S), _MOST_THROTTLED_S)

    def answered(self) -> None:
        """A whole look was answered."""
        self._throttled_s = self._throttled_s / 2 if self._throttled_s > _BUSY_S else 0.0

    def pause_s(self, now: float, jitter: float) -> float:
        """How long until the next look."""
        self._earn(now)
        owed = max(1.0 - self._tokens, 0.0) / (_CALLS_A_S * max(self.followed, 1))
        wanted = _BUSY_S
        if self._throttled_s:
            wanted = self._throttled_s
        elif self._is_first:
            wanted = _FIRST_S
        elif now - self._news_at >= _BUSY_FOR_S:
            wanted = min(max(1 / _CALLS_A_S, (now - self._began_at) * _SHARE), _SLOWEST_S)
        self._is_first = False
        return max(wanted * jitter, owed)

    def _earn(self, now: float) -> None:
        many = max(self.followed, 1)
        self._tokens = min(self._tokens + (now - self._paid_at) * _CALLS_A_S * many, _SPARE_CALLS * many)
        self._paid_at = now
