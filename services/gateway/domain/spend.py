"""What was spent today, answers included that the ledger's follower has not seen yet. Pure."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from datetime import date, datetime, timedelta

# A row that another replica applied is recognised by its time. Replicas' clocks differ a little,
# and rows are not recorded in the exact order in which answers leave.
CLOCK_SLACK = timedelta(seconds=2)
FORGET_AFTER = timedelta(seconds=30)
# While Postgres is away answers pile up: beyond this many, the oldest are remembered as sums only.
MAX_ANSWERED = 10_000


@dataclass(frozen=True, slots=True)
class _Answered:
    tenant: str
    day: date
    cost_nano_usd: int
    at: datetime


@dataclass(slots=True)
class Today:
    """
    Sums of the applied part plus what was answered since, each cent once.

    A request is expected before the router is asked: its row may be applied before its answer
    arrives here, and then must not be counted again.
    """

    _day: date = date.min
    _applied: Mapping[str, int] = field(default_factory=dict)  # tenant -> nano-USD of _day
    _open: dict[str, tuple[str, date]] = field(default_factory=dict)
    _answered: dict[str, _Answered] = field(default_factory=dict)  # oldest first
    _folded: dict[tuple[date, str], _Answered] = field(default_factory=dict)  # at: of the newest
    _waiting: dict[tuple[date, str], int] = field(default_factory=dict)  # sums of both

    def expect(self, request_id: str, tenant: str, now: datetime) -> None:
        self._open[request_id] = (tenant, now.date())

    def give_up(self, request_id: str) -> None:
        """Forget a request that brought no answer; what it cost comes with the ledger."""
        self._open.pop(request_id, None)

    def answered(self, request_id: str, cost_nano_usd: int | None, now: datetime) -> None:
        opened = self._open.pop(request_id, None)
        if opened is None or not cost_nano_usd:
            return  # applied already, or nothing to count
        tenant, day = opened
        self._answered[request_id] = _Answered(tenant, day, cost_nano_usd, now)
        self._add(day, tenant, cost_nano_usd)
        if len(self._answered) > MAX_ANSWERED:
            self._fold()

    def known(self, request_id: str) -> bool:
        return request_id in self._open or request_id in self._answered

    def applied(
        self,
        day: date,
        totals: Mapping[str, int],
        *,
        request_ids: Iterable[str],
        latest_at: datetime | None,
        now: datetime,
    ) -> None:
        """Take over the applied sums of *day*, which contain *request_ids* and what is older."""
        self._day = day
        self._applied = totals
        for request_id in request_ids:
            self._release(request_id)
        until = now - FORGET_AFTER
        if latest_at is not None:
            until = max(until, latest_at - CLOCK_SLACK)
        for request_id, answer in list(self._answered.items()):
            if answer.at >= until:
                break  # the rest is younger
            self._release(request_id)
        for key, folded in list(self._folded.items()):
            if folded.at < until:
                del self._folded[key]
                self._add(*key, -folded.cost_nano_usd)

    def total(self, tenant: str | None, today: date) -> int:
        """Sum up today's nano-USD of *tenant*, or of everyone."""
        applied = self._applied if self._day == today else {}
        if tenant is not None:
            return applied.get(tenant, 0) + self._waiting.get((today, tenant), 0)
        waiting = sum(cost for (day, _), cost in self._waiting.items() if day == today)
        return sum(applied.values()) + waiting

    @property
    def waits(self) -> bool:
        return bool(self._answered or self._folded)

    def _fold(self) -> None:
        """Forget whose the oldest answer was; its cost waits on."""
        oldest = self._answered.pop(next(iter(self._answered)))
        key = (oldest.day, oldest.tenant)
        before = self._folded.get(key)
        cost = oldest.cost_nano_usd + (before.cost_nano_usd if before else 0)
        self._folded[key] = replace(oldest, cost_nano_usd=cost)

    def _release(self, request_id: str) -> None:
        if self._open.pop(request_id, None) is None:
            answer = self._answered.pop(request_id, None)
            if answer is not None:
                self._add(answer.day, answer.tenant, -answer.cost_nano_usd)

    def _add(self, day: date, tenant: str, cost_nano_usd: int) -> None:
        left = self._waiting.get((day, tenant), 0) + cost_nano_usd
        if left:
            self._waiting[day, tenant] = left
        else:
            self._waiting.pop((day, tenant), None)
