"""Cron schedules: what fires when, through every change of the clock, and which texts are refused and how."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from functools import cache
from itertools import pairwise
from zoneinfo import ZoneInfo

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from tunesmith.domain import Cron
from tunesmith.domain.cron import FIELDS, MACROS, MAX_LENGTH
from tunesmith.errors import InvalidSchedule

# Changes by an hour, by half an hour, at midnight, and none at all.
ZONES = ["Europe/Berlin", "America/New_York", "Australia/Lord_Howe", "America/Sao_Paulo", "Asia/Kolkata", "UTC"]
AT_MIDNIGHT = ["Africa/Cairo", "America/Santiago", "America/Havana", "Asia/Beirut"]
START, END = datetime(2023, 1, 1, tzinfo=UTC), datetime(2029, 1, 1, tzinfo=UTC)
MINUTE, HOUR, DAY = timedelta(minutes=1), timedelta(hours=1), timedelta(days=1)
EVERYTHING = 10**9


def utc(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


def local(moment: datetime, zone: str) -> datetime:
    """What the clocks there show."""
    return moment.astimezone(ZoneInfo(zone)).replace(tzinfo=None)


def walk(cron: Cron, after: datetime, until: datetime) -> list[datetime]:
    """Every firing in (after, until], one `after` at a time."""
    found: list[datetime] = []
    while (after := cron.after(after)) <= until:
        found.append(after)
    return found


@cache
def changes(zone: str) -> list[datetime]:
    """The hours of 2023 to 2028 at the end of which clocks there show something else than an hour more."""
    hours = [START + HOUR * count for count in range((END - START) // HOUR)]
    return [hour for hour in hours if local(hour + HOUR, zone) - local(hour, zone) != HOUR]


@dataclass(frozen=True)
class Times:
    """An expression for times of the day, with what it means as sets."""

    minute: str
    hour: str
    minutes: frozenset[int]
    hours: frozenset[int]

    @property
    def expression(self) -> str:
        return f"{self.minute} {self.hour} * * *"

    def match(self, wall: datetime) -> bool:
        return wall.minute in self.minutes and wall.hour in self.hours

    def fired(self, zone: str, after: datetime, until: datetime) -> list[datetime]:
        """The firings in (after, until], by Debian's rules, from a clock that is looked at every minute."""
        follows_clock = self.minute.startswith("*") or self.hour.startswith("*")
        found: list[datetime] = []
        moment = (after - 3 * HOUR).replace(second=0)  # more than any clock is put back
        latest = local(moment, zone)
        while (moment := moment + MINUTE) <= until:
            wall = local(moment, zone)
            if follows_clock:
                fires = self.match(wall)
            else:
                fires = any(self.match(latest + MINUTE * count) for count in range(1, (wall - latest) // MINUTE + 1))
            latest = max(latest, wall)
            if fires and moment > after:
                found.append(moment)
        return found


def fields(size: int) -> st.SearchStrategy[tuple[str, frozenset[int]]]:
    """A field of that many values from 0 on, and the values that it names."""
    numbers = st.integers(0, size - 1)
    return st.one_of(
        st.just(("*", frozenset(range(size)))),
        st.integers(1, size).map(lambda step: (f"*/{step}", frozenset(range(0, size, step)))),
        st.sets(numbers, min_size=1, max_size=5).map(lambda some: (",".join(map(str, some)), frozenset(some))),
        st.builds(lambda one, other: span(min(one, other), max(one, other)), numbers, numbers),
    )


def span(low: int, high: int) -> tuple[str, frozenset[int]]:
    return f"{low}-{high}", frozenset(range(low, high + 1))


TIMES = st.builds(lambda minute, hour: Times(minute[0], hour[0], minute[1], hour[1]), fields(60), fields(24))
SPARSE = ["0 */6 * * *", "15 4 1,15 * *", "0 9 L * *", "0 9 LW * FRI#2", "@weekly", "0 0 29 2 *", "0 3 * 3,10 5L"]
HALF_PAST_TWO = Times("30", "2", frozenset({30}), frozenset({2}))


@st.composite
def nights(draw: st.DrawFn) -> tuple[str, datetime]:
    """A zone and a moment within a few hours of a change of its clocks, or any moment where there is none."""
    zone = draw(st.sampled_from(ZONES + AT_MIDNIGHT))
    change = draw(st.sampled_from(changes(zone) or [START]))
    return zone, change + timedelta(seconds=draw(st.integers(-6 * 3600, 4 * 3600)))


@settings(max_examples=60, deadline=None)
@given(nights(), TIMES)
@example(("Australia/Lord_Howe", utc("2025-04-05 14:59:59")), HALF_PAST_TWO)
def test_it_fires_as_a_clock_that_is_looked_at_every_minute(night: tuple[str, datetime], times: Times) -> None:
    zone, start = night
    until = start + 8 * HOUR
    assert walk(Cron(times.expression, zone), start, until) == times.fired(zone, start, until)


@settings(max_examples=50, deadline=None)
@given(nights(), TIMES, st.lists(st.floats(0, 8), max_size=12), st.integers(1, 40))
def test_no_firing_is_missed_or_doubled_however_often_the_service_restarts(
    night: tuple[str, datetime], times: Times, cuts: list[float], limit: int
) -> None:
    zone, start = night
    moments = [start, *sorted(start + HOUR * cut for cut in cuts), start + 8 * HOUR]
    cron = Cron(times.expression, zone)
    fired = [moment for after, until in pairwise(moments) for moment in cron.between(after, until, EVERYTHING)]
    assert fired == walk(cron, moments[0], moments[-1])
    assert cron.between(moments[0], moments[-1], limit) == fired[-limit:]


@settings(max_examples=60, deadline=None)
@given(
    st.sampled_from(SPARSE),
    st.sampled_from(ZONES),
    st.datetimes(datetime(2023, 1, 1), datetime(2028, 12, 31)),
    st.lists(st.integers(1, 2000), min_size=1, max_size=8),
    st.integers(1, 20),
)
def test_no_firing_is_missed_or_doubled_over_months(
    expression: str, zone: str, start: datetime, hours: list[int], limit: int
) -> None:
    cron = Cron(expression, zone)
    moments = [start.replace(tzinfo=UTC)]
    for step in hours:
        moments.append(moments[-1] + HOUR * step)
    fired = [moment for after, until in pairwise(moments) for moment in cron.between(after, until, EVERYTHING)]
    assert fired == walk(cron, moments[0], moments[-1])
    assert cron.between(moments[0], moments[-1], limit) == fired[-limit:]


@pytest.mark.parametrize("zone", ZONES + AT_MIDNIGHT)
@pytest.mark.parametrize("time", ["0 0", "45 1", "30 2"])
def test_a_daily_job_fires_once_on_each_day_of_the_calendar(zone: str, time: str) -> None:
    offset = ZoneInfo(zone).utcoffset(datetime(2023, 1, 1)) or timedelta()
    fired = walk(Cron(f"{time} * * *", zone), START - offset - MINUTE, END - offset - MINUTE)
    days = [local(moment, zone).date() for moment in fired]
    assert days == [date(2023, 1, 1) + DAY * count for count in range((END - START).days)]
    minute, hour = map(int, time.split())
    moved = [moment for moment in fired if (local(moment, zone).hour, local(moment, zone).minute) != (hour, minute)]
    assert len(moved) <= 6  # one night a year
    for moment in moved:
        skipped = local(moment, zone) - local(moment - MINUTE, zone) - MINUTE
        assert skipped > timedelta()


@pytest.mark.parametrize("zone", ZONES)
def test_what_has_a_star_follows_the_clock_for_years(zone: str) -> None:
    fired = walk(Cron("15 */8 * * *", zone), START, END)
    assert all(before < after for before, after in pairwise(fired))
    assert all((local(moment, zone).minute, local(moment, zone).hour % 8) == (15, 0) for moment in fired)
    assert len(fired) == 3 * (END - START).days


def shown(expression: str, zone: str, after: str, until: str) -> list[str]:
    return [f"{moment:%H:%M}" for moment in Cron(expression, zone).between(utc(after), utc(until), EVERYTHING)]


@pytest.mark.parametrize(
    ("expression", "fired"),
    [
        ("30 2 * * *", ["01:00"]),
        ("0,15,30,45 2 * * *", ["01:00"]),
        ("30 2,3 * * *", ["01:00", "01:30"]),
        ("0 2,3 * * *", ["01:00"]),
        ("0 * * * *", ["00:00", "01:00", "02:00"]),
        ("*/30 * * * *", ["00:00", "00:30", "01:00", "01:30", "02:00"]),
        ("*/30 2 * * *", []),
    ],
)
def test_the_hour_that_berlin_skips(expression: str, fired: list[str]) -> None:
    assert shown(expression, "Europe/Berlin", "2025-03-29 23:59", "2025-03-30 02:00") == fired


@pytest.mark.parametrize(
    ("expression", "fired"),
    [
        ("30 2 * * *", ["00:30"]),
        ("0 1-3 * * *", ["00:00", "02:00"]),
        ("0 * * * *", ["00:00", "01:00", "02:00"]),
        ("*/30 2 * * *", ["00:00", "00:30", "01:00", "01:30"]),
    ],
)
def test_the_hour_that_berlin_repeats(expression: str, fired: list[str]) -> None:
    assert shown(expression, "Europe/Berlin", "2025-10-25 23:59", "2025-10-26 02:00") == fired


def test_the_half_hours_of_lord_howe() -> None:
    assert shown("15 2 * * *", "Australia/Lord_Howe", "2025-10-04 15:00", "2025-10-04 17:00") == ["15:30"]
    assert shown("*/30 3 * * *", "Australia/Lord_Howe", "2025-10-04 15:00", "2025-10-04 17:00") == ["16:00", "16:30"]
    assert shown("45 1 * * *", "Australia/Lord_Howe", "2025-04-05 14:00", "2025-04-05 17:00") == ["14:45"]
    assert shown("45 * * * *", "Australia/Lord_Howe", "2025-04-05 14:00", "2025-04-05 16:00") == ["14:45", "15:15"]


def test_a_day_that_samoa_left_out_is_made_up_for_at_its_end() -> None:
    fired = walk(Cron("0 9 * * *", "Pacific/Apia"), utc("2011-12-29"), utc("2012-01-01"))
    days = [f"{local(moment, 'Pacific/Apia'):%d %H:%M}" for moment in fired]
    assert days == ["29 09:00", "31 00:00", "31 09:00", "01 09:00"]


@pytest.mark.parametrize(
    ("expression", "first"),
    [
        ("*/5 * * * *", "2025-01-15 12:05"),
        ("1-59/20 12-14 * * *", "2025-01-15 12:01"),
        ("0 9 * FEB mon", "2025-02-03 09:00"),
        ("0 0 L * *", "2025-01-31 00:00"),
        ("0 0 LW 5 *", "2025-05-30 00:00"),
        ("0 0 * * 5L", "2025-01-31 00:00"),
        ("0 0 * * MON#2", "2025-02-10 00:00"),
        ("0 0 * * 7", "2025-01-19 00:00"),
        ("0 0 13 * FRI", "2025-01-17 00:00"),  # either of two days that are chosen, as in every cron
        ("0 0 29 2 *", "2028-02-29 00:00"),
        ("  0\t0  1 1 * ", "2026-01-01 00:00"),
        ("@hourly", "2025-01-15 13:00"),
        ("@daily", "2025-01-16 00:00"),
        ("@midnight", "2025-01-16 00:00"),
        ("@weekly", "2025-01-19 00:00"),
        ("@monthly", "2025-02-01 00:00"),
        ("@Yearly", "2026-01-01 00:00"),
        ("@annually", "2026-01-01 00:00"),
    ],
)
def test_what_an_expression_means(expression: str, first: str) -> None:
    assert Cron(expression).after(utc("2025-01-15 12:00")) == utc(first)


def test_after_is_strict_and_answers_in_utc() -> None:
    cron = Cron("0 * * * *", "Asia/Kolkata")
    moment = cron.after(datetime(2025, 1, 1, 8, 0, 0, 1, tzinfo=ZoneInfo("Asia/Tokyo")))
    assert (moment, moment.tzinfo) == (utc("2024-12-31 23:30"), UTC)
    assert cron.after(moment - timedelta(microseconds=1)) == moment
    assert cron.after(moment) == moment + HOUR


def test_between_takes_its_end_and_leaves_its_start() -> None:
    cron, midnight = Cron("0 * * * *"), utc("2025-01-01 00:00")
    assert cron.between(midnight, midnight + 2 * HOUR, 9) == [midnight + HOUR, midnight + 2 * HOUR]
    assert cron.between(midnight, midnight + HOUR - MINUTE, 9) == []
    assert cron.between(midnight + 2 * HOUR, midnight, 9) == []
    assert cron.between(midnight, midnight + 2 * HOUR, 0) == []


@pytest.mark.parametrize("until", [utc("2025-10-26 00:30:30"), utc("2025-10-26 01:01:30"), utc("2025-10-26 02:00:30")])
def test_a_service_that_was_down_for_decades_finds_the_last_firings_at_once(until: datetime) -> None:
    fired = Cron("* * * * *", "Europe/Berlin").between(utc("1975-01-01"), until, 3)
    last = until.replace(second=0)
    assert fired == [last - 2 * MINUTE, last - MINUTE, last]


def test_a_moment_without_a_zone_is_a_mistake_of_the_program() -> None:
    with pytest.raises(ValueError, match="2025-01-01 00:00:00 has no time zone"):
        Cron("@daily").after(datetime(2025, 1, 1))


@pytest.mark.parametrize(
    ("expression", "zone", "words"),
    [
        ("0 2 * * *", "Europe/Berlin", "at 02:00 every day (Europe/Berlin)"),
        ("@hourly", "UTC", "at the start of every hour (UTC)"),
        ("*/5 * * * *", "UTC", "every fifth minute of every hour (UTC)"),
        ("0 9 * * MON-FRI", "UTC", "at 09:00 on Monday through Friday (UTC)"),
        ("0 0 L * *", "UTC", "on the last day of every month"),
    ],
)
def test_a_schedule_in_words(expression: str, zone: str, words: str) -> None:
    assert words in Cron(expression, zone).words


def refusal(expression: str, zone: str = "UTC") -> InvalidSchedule:
    with pytest.raises(InvalidSchedule) as caught:
        Cron(expression, zone)
    assert (caught.value.status, caught.value.code) == (400, "INVALID_SCHEDULE")
    assert len(str(caught.value)) < 500
    return caught.value


@pytest.mark.parametrize(
    ("expression", "field", "value"),
    [
        ("61 * * * *", "minute", "61"),
        ("0,5,99 * * * *", "minute", "99"),
        ("*/0 * * * *", "minute", "*/0"),
        ("0 24 * * *", "hour", "24"),
        ("0 22-2 * * *", "hour", "22-2"),
        ("0 0 0 * *", "day of month", "0"),
        ("0 0 ? * *", "day of month", "?"),
        ("0 0 1 13 *", "month", "13"),
        ("0 0 1 MONDAY *", "month", "MONDAY"),
        ("0 0 * * 8", "day of week", "8"),
        ("0 0 * * MON#6", "day of week", "MON#6"),
        ("0 0 * * JAN", "day of week", "JAN"),
    ],
)
def test_a_field_that_cannot_be_read_is_named(expression: str, field: str, value: str) -> None:
    error = refusal(expression)
    assert error.details == {"field": field, "value": value}
    assert str(error).startswith(f"schedule: {field} '{value}' is none of {FIELDS[field]}; * is any")


@pytest.mark.parametrize(
    ("expression", "complaint"),
    [
        ("0 0 0 * * *", "'0 0 0 * * *' has six fields, and seconds are not supported"),
        ("* * * *", "'* * * *' has 4 fields; write five: minute, hour, day of month, month, day of week"),
        ("", "'' has 0 fields; write five"),
        ("@reboot", f"'@reboot' is none of {', '.join(MACROS)}"),
        ("@fortnightly", f"'@fortnightly' is none of {', '.join(MACROS)}"),
        ("0 0 30 2 *", "'0 0 30 2 *' never fires"),
        ("0 0 31 4,6,9,11 *", "never fires"),
        ("0 0 */31 * MON#5", "never fires"),
        ("*" * (MAX_LENGTH + 1), "has more than 200 characters"),
    ],
)
def test_an_expression_that_is_none_is_refused_with_a_remedy(expression: str, complaint: str) -> None:
    error = refusal(expression)
    assert (error.details["field"], error.details["value"]) == ("schedule", expression[:40])
    assert str(error).startswith("schedule: ")
    assert complaint in str(error)


@pytest.mark.parametrize(
    ("zone", "remedy"),
    [
        ("Europe/Berln", "the nearest is 'Europe/Berlin'"),
        ("europe/berlin", "the nearest is 'Europe/Berlin'"),
        ("New York", "the nearest is 'America/New_York'"),
        ("Mars/Olympus", "for instance 'UTC' or 'Europe/Berlin'"),
        ("../../etc/localtime", ""),
        ("localtime", ""),
        ("Europe", ""),
        ("", "for instance 'UTC'"),
    ],
)
def test_an_unknown_time_zone_is_refused_with_the_nearest_known_one(zone: str, remedy: str) -> None:
    error = refusal("@daily", zone)
    assert error.details == {"field": "timezone", "value": zone}
    assert str(error).startswith(f"timezone: {zone!r} is no IANA time zone; ")
    assert remedy in str(error)


def test_the_name_of_a_time_zone_has_an_end() -> None:
    assert "has more than 200 characters" in str(refusal("@daily", "Z" * 201))


TERMS = st.text("0123456789*/-,#LW", max_size=5) | st.sampled_from(
    ["*", "1", "L", "LW", "5L", "MON#1", "JAN", "MON-FRI"]
)


@settings(max_examples=300, deadline=None)
@given(st.lists(TERMS, min_size=5, max_size=5).map(" ".join) | st.text(max_size=30) | st.text().map("@{}".format))
@example("1,L,LW */2 1,LW/2 JAN-MAR/2 5L,MON#1")
def test_any_text_is_a_schedule_or_is_refused(text: str) -> None:
    try:
        cron = Cron(text)
    except InvalidSchedule:
        return
    assert cron.words.endswith(" (UTC)")
    assert cron.after(START) > START


def test_a_schedule_of_nothing_but_skipped_hours_is_refused() -> None:
    with pytest.raises(InvalidSchedule, match="Europe/Berlin skip that hour"):
        Cron("* 2 * 3 0L", "Europe/Berlin")
    Cron("* 2 * 3 0L", "UTC")
    Cron("30 2 * 3 0L", "Europe/Berlin")  # at a fixed time it fires after the gap
