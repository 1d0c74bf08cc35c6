"""Schedules in cron's words: when one fires next, and when it should have fired, through every change of the clock."""

from __future__ import annotations

import difflib
from datetime import UTC, datetime, timedelta
from functools import cache, lru_cache
from zoneinfo import ZoneInfo, available_timezones

from cronsim import CronSim, CronSimError

from tunesmith.errors import InvalidSchedule

MAX_LENGTH = 200
"""Characters that an expression or the name of a time zone may have."""

MACROS = {
    "@hourly": "0 * * * *",
    "@daily": "0 0 * * *",
    "@midnight": "0 0 * * *",
    "@weekly": "0 0 * * 0",
    "@monthly": "0 0 1 * *",
    "@yearly": "0 0 1 1 *",
    "@annually": "0 0 1 1 *",
}
FIELDS = {
    "minute": "0-59",
    "hour": "0-23",
    "day of month": "1-31, L (the last day) or LW (the last weekday)",
    "month": "1-12 or JAN-DEC",
    "day of week": "0-7 (0 and 7 are Sunday), SUN-SAT, 5L (the last Friday) or MON#2 (the second Monday)",
}
"""The fields in their order, each with what may stand in it."""

_NO_PLACES = {"Factory", "localtime"}  # files among the zones: one is a placeholder, one differs by machine
MAX_SKIPPED = 1000
"""Times one after the other that the clock may skip, before the next one is given up: several years of such an hour."""
_ANY_DAY = datetime(2000, 1, 1)


class Cron:
    """A cron expression in a time zone; it fires as Debian's cron does.

    An expression whose minute or hour begins with `*` follows the clock: it does not fire at times that the clock skips
    and fires both times at those that it repeats. Any other is meant for fixed times: it fires once at the end of a gap
    in which it should have fired, and only the first time where the clock repeats itself.
    """

    def __init__(self, expression: str, timezone: str = "UTC") -> None:
        """Read five fields or a macro such as `@daily`. Raises InvalidSchedule, which names the field at fault."""
        self.expression = expression
        self.timezone = timezone
        self._fields = _read(expression)
        self._zone = _zone(timezone)
        minute, hour, *_ = self._fields.split()
        self._at_fixed_time = not (minute.startswith("*") or hour.startswith("*"))
        self.after(datetime.now(UTC))  # not never

    def __repr__(self) -> str:
        return f"Cron({self.expression!r}, {self.timezone!r})"

    @property
    def words(self) -> str:
        """The schedule in English: `at 02:00 every day (Europe/Berlin)`."""
        text = CronSim(self._fields, _ANY_DAY).explain()
        return f"{text[0].lower()}{text[1:]} ({self.timezone})"

    def after(self, moment: datetime) -> datetime:
        """The first firing strictly after the moment, in UTC; the moment may be in any zone.

        Raises InvalidSchedule when there is none, as the clocks there skip every one.
        """
        here = self._wall(moment)
        first, second = self._offsets(here)
        repeated = max(first - second, timedelta())  # earlier times may come again
        walls = CronSim(self._fields, here - repeated)
        wall, later, skipped = here, list[datetime](), 0
        while wall <= here or not later:
            wall = next(walls)
            later += [instant for instant in self._instants(wall) if instant > moment]
            skipped += wall > here
            if skipped > MAX_SKIPPED:
                remedy = (
                    f"never fires: whenever it is due, the clocks in {self.timezone} skip that hour; choose another"
                )
                raise _refusal("schedule", self.expression, remedy)
        return min(later)

    def between(self, after: datetime, until: datetime, limit: int) -> list[datetime]:
        """The last `limit` firings after `after` and not after `until`, ascending, in UTC."""
        if limit < 1:
            return []
        fired = list[datetime]()
        moment = self._before_last(after, until, limit)
        while (moment := self.after(moment)) <= until:
            fired.append(moment)
        return fired[-limit:]

    def _before_last(self, after: datetime, until: datetime, limit: int) -> datetime:
        """`after`, or a later moment with `limit` firings or more from it to `until`: long outages are cheap."""
        found = set[datetime]()
        for wall in CronSim(self._fields, self._wall(until), reverse=True):
            instants = self._instants(wall)
            if len(found) >= limit or (instants and instants[-1] <= after):
                break
            found.update(instant for instant in instants if after < instant <= until)
        return min(found) - timedelta(microseconds=1) if len(found) >= limit else after

    def _wall(self, moment: datetime) -> datetime:
        """What the clocks there show."""
        if moment.tzinfo is None:
            raise ValueError(f"{moment} has no time zone")
        return moment.astimezone(self._zone).replace(tzinfo=None, fold=0, microsecond=0)

    def _instants(self, wall: datetime) -> list[datetime]:
        """When to fire, in UTC, for a matching time on the clock: once, twice where it is repeated, or not at all."""
        first, second = self._offsets(wall)
        if first < second:  # skipped
            return [self._end_of_gap(wall)] if self._at_fixed_time else []
        offsets = [first] if first == second or self._at_fixed_time else [first, second]
        return [(wall - offset).replace(tzinfo=UTC) for offset in offsets]

    def _end_of_gap(self, wall: datetime) -> datetime:
        first, second = self._offsets(wall)
        while first < second:
            wall += timedelta(minutes=1)
            first, second = self._offsets(wall)
        return (wall - first).replace(tzinfo=UTC)

    def _offsets(self, wall: datetime) -> tuple[timedelta, timedelta]:
        """The offsets from UTC by the rules before and after a change, if there is one at that time; else one twice."""
        local = wall.replace(tzinfo=self._zone)
        return local.utcoffset() or timedelta(), local.replace(fold=1).utcoffset() or timedelta()


@lru_cache(maxsize=16384)
def _read(expression: str) -> str:
    """The five fields of an expression that can be read and that fires at some time."""
    if len(expression) > MAX_LENGTH:
        raise _refusal("schedule", expression[:40], f"... has more than {MAX_LENGTH} characters; write it shorter")
    text = expression.strip()
    if text.startswith("@"):
        if text.lower() not in MACROS:
            raise _refusal("schedule", text, f"is none of {', '.join(MACROS)}; use one of them or five fields")
        text = MACROS[text.lower()]
    _check_count(text)
    for position, (name, value) in enumerate(zip(FIELDS, text.split(), strict=True)):
        _check_field(position, name, value)
    if _first(text) is None:
        raise _refusal("schedule", expression, "never fires: no month that it names has such a day; change the day")
    return text


def _check_count(text: str) -> None:
    count = len(text.split())
    if count == 6:
        raise _refusal("schedule", text, "has six fields, and seconds are not supported; leave out the field for them")
    if count != 5:
        remedy = f"has {count} fields; write five: {', '.join(FIELDS)}, or one of {', '.join(MACROS)}"
        raise _refusal("schedule", text, remedy)


def _check_field(position: int, name: str, value: str) -> None:
    for term in value.split(","):
        fields = ["*"] * len(FIELDS)
        fields[position] = term
        try:
            CronSim(" ".join(fields), _ANY_DAY)
        except CronSimError as error:
            remedy = f"is none of {FIELDS[name]}; * is any, and there are lists (1,5), ranges from low to high (1-5)"
            raise _refusal(name, term, f"{remedy} and steps (*/2)") from error


def _first(fields: str) -> datetime | None:
    try:
        return next(CronSim(fields, _ANY_DAY), None)
    except CronSimError:
        return None  # each field can be read, but no month has these days


@cache
def _zones() -> dict[str, str]:
    """Names to look up in small letters, cities alone as well, and the zone that each one is."""
    names = sorted(available_timezones() - _NO_PLACES)
    return {name.rpartition("/")[2].casefold(): name for name in names} | {name.casefold(): name for name in names}


def _zone(name: str) -> ZoneInfo:
    if len(name) > MAX_LENGTH:
        raise _refusal("timezone", name[:40], f"... has more than {MAX_LENGTH} characters; use an IANA name")
    zones = _zones()
    if zones.get(name.casefold()) == name:
        return ZoneInfo(name)
    near = difflib.get_close_matches(name.replace(" ", "_").casefold(), zones, n=1)
    nearest = f"the nearest is {zones[near[0]]!r}" if near else "for instance 'UTC' or 'Europe/Berlin'"
    raise _refusal("timezone", name, f"is no IANA time zone; {nearest}")


def _refusal(field: str, value: str, remedy: str) -> InvalidSchedule:
    place = f"{field}:" if field in ("schedule", "timezone") else f"schedule: {field}"
    return InvalidSchedule(f"{place} {value!r} {remedy}", field=field, value=value)
