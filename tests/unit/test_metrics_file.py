"""The metrics file, read while it grows, and the patterns over the output."""

from __future__ import annotations

import json
import math
import os
from pathlib import Path
from tempfile import TemporaryFile

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tuners.tools.matcher import MAX_LINE as MATCHED
from tuners.tools.metrics import MAX_LINE, MAX_METRICS, MAX_PROBLEMS, MetricsFile, Patterns


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "metrics.jsonl"


def read_all(path: Path, text: str | bytes) -> MetricsFile:
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    metrics = MetricsFile(path)
    metrics.read(ended=True)
    return metrics


def test_no_file_is_no_metrics(path: Path) -> None:
    metrics = MetricsFile(path)
    assert metrics.read() == metrics.read(ended=True) == []
    assert metrics.final == {}


def test_steps_are_intermediate_values_in_their_order(path: Path) -> None:
    path.write_text(
        '{"loss": 0.5, "step": 1}\n{"loss": 0.4, "acc": 1, "step": 2}\n{"size": 3}\n{"loss": 0.3, "step": 3.0}\n'
    )
    metrics = MetricsFile(path)
    assert metrics.read() == [("loss", 1, 0.5), ("loss", 2, 0.4), ("acc", 2, 1.0), ("loss", 3, 0.3)]
    assert metrics.read(ended=True) == []
    assert metrics.final == {"loss": 0.3, "acc": 1.0, "size": 3.0}


def test_a_line_without_a_step_is_the_final_value_wherever_it_stands(path: Path) -> None:
    metrics = read_all(path, '{"loss": 0.9, "step": 1}\n{"loss": 0.1}\n{"loss": 0.8, "step": 2}')
    assert metrics.final == {"loss": 0.1}


def test_a_line_is_read_when_it_is_whole(path: Path) -> None:
    metrics = MetricsFile(path)
    path.write_text('{"loss": 0.')
    assert metrics.read() == []
    with path.open("a") as stream:
        stream.write('5, "step": 1}')
    assert metrics.read() == []
    with path.open("a") as stream:
        stream.write('\n{"loss": 0.25, "step": 2}')
    assert metrics.read() == [("loss", 1, 0.5)]
    assert metrics.read(ended=True) == [("loss", 2, 0.25)]
    assert metrics.problems == []


def test_a_file_that_is_written_anew_is_read_anew(path: Path) -> None:
    metrics = MetricsFile(path)
    path.write_text('{"loss": 0.5555555555}\n')
    metrics.read()
    path.write_text('{"loss": 1}\n')
    metrics.read()
    assert metrics.final == {"loss": 1.0}


@pytest.mark.parametrize(
    ("line", "problem"),
    [
        ("loss=3", "no JSON object: 'loss=3'"),
        ("[1, 2]", "no JSON object"),
        ("{", "no JSON object"),
        ("\xff\xfe", "no JSON object"),
        ("[" * 100_000, "no JSON object"),
        ("1" * 10_000, "no JSON object"),
        ('{"a": NaN}', "a: nan is no finite number"),
        ('{"a": -Infinity}', "a: -inf is no finite number"),
        ('{"a": 1e999}', "a: inf is no finite number"),
        ('{"a": "1"}', "a: '1' is no finite number"),
        ('{"a": true}', "a: True is no finite number"),
        ('{"a": null}', "a: None is no finite number"),
        ('{"a": [1]}', "a: [1] is no finite number"),
        ('{"a": {"b": 1}}', "is no finite number"),
        (f'{{"a": 1{"0" * 400}}}', "is no finite number"),
        ('{"": 1}', "is no finite number"),
        ('{"a\\u0000": 1}', "is no finite number"),
        ('{"\\ud800": 1}', "is no finite number"),
        (json.dumps({"a" * 201: 1}), "is no finite number"),
        ('{"a": 1, "step": "3"}', "step '3' is no whole number"),
        ('{"a": 1, "step": true}', "step True is no whole number"),
        ('{"a": 1, "step": 1.5}', "step 1.5 is no whole number"),
        ('{"a": 1, "step": NaN}', "step nan is no whole number"),
        ('{"a": 1, "step": 1e30}', "step 1e+30 is no whole number"),
        (f'{{"a": 1, "step": 1{"0" * 400}}}', "is no whole number"),
    ],
)
def test_a_broken_line_is_told_and_the_others_count(path: Path, line: str, problem: str) -> None:
    metrics = read_all(path, f'{{"b": 1}}\n\n{line}\n{{"c": 2}}\n')
    assert metrics.final == {"b": 1.0, "c": 2.0}
    (told,) = metrics.problems
    assert problem in told
    assert len(told) < 400


def test_a_negative_step_is_a_step(path: Path) -> None:
    path.write_text('{"a": 1, "step": -2}\n')
    assert MetricsFile(path).read() == [("a", -2, 1.0)]


def test_there_is_a_limit_to_different_metrics_but_not_to_their_values(path: Path) -> None:
    many = {f"m{i}": i for i in range(MAX_METRICS + 10)}
    metrics = read_all(path, json.dumps(many) + "\n" + json.dumps({"m0": 7}) + "\n")
    assert len(metrics.final) == MAX_METRICS
    assert metrics.final["m0"] == 7


def test_problems_and_long_lines_take_bounded_memory(path: Path) -> None:
    metrics = read_all(path, b"no json\n" * 1000 + b"x" * (3 * MAX_LINE) + b'\n{"a": 1}\n')
    assert metrics.final == {"a": 1.0}
    assert len(metrics.problems) == MAX_PROBLEMS


@given(st.lists(st.dictionaries(st.sampled_from("abc"), st.floats(allow_nan=False), max_size=3), max_size=8), st.data())
def test_it_does_not_matter_how_the_file_grows(
    tmp_path_factory: pytest.TempPathFactory, records: list[dict[str, float]], data: st.DataObject
) -> None:
    path = tmp_path_factory.mktemp("metrics") / "m"
    whole = "".join(json.dumps(record | {"step": i}) + "\n" for i, record in enumerate(records)).encode()
    metrics, found, written = MetricsFile(path), [], 0
    while written < len(whole):
        more = data.draw(st.integers(1, len(whole) - written))
        with path.open("ab") as stream:
            stream.write(whole[written : written + more])
        written += more
        found += metrics.read()
    found += metrics.read(ended=True)
    expected = [(k, i, v) for i, record in enumerate(records) for k, v in record.items() if math.isfinite(v)]
    assert found == expected
    assert metrics.final == {name: value for name, _step, value in expected}


# Patterns


def found_in(text: bytes, **patterns: str) -> dict[str, float]:
    with TemporaryFile() as log:
        matcher = Patterns(patterns, log)
        try:
            with os.fdopen(os.dup(matcher.stdout), "wb") as output:
                output.write(text)
            assert matcher.ended(20)
            assert not matcher.broken
            assert os.pread(log.fileno(), len(text) + 1, 0) == text
            return matcher.found
        finally:
            matcher.close()


def test_the_last_match_counts() -> None:
    text = b"ratio=1.5 ratio=2.5\nnothing\nratio=3.5\nsize: 7\n"
    assert found_in(text, ratio="ratio=([0-9.]+)", size=r"size: (\d+)", none="x(.)") == {"ratio": 3.5, "size": 7.0}


def test_what_is_no_finite_number_does_not_count() -> None:
    assert found_in(b"a=1\na=nan\na=.\na=inf\na=\n", a="a=(.*)") == {"a": 1.0}
    assert found_in(b"b\n", b="b(x)?") == {}


def test_binary_output_and_lines_without_end_are_taken_in_pieces() -> None:
    assert found_in(b"\xff\0" * (MATCHED + 5) + b"\na=2", a="a=(.)") == {"a": 2.0}


def test_a_log_that_takes_no_more_does_not_block_the_command() -> None:
    with open("/dev/full", "wb", buffering=0) as full:
        matcher = Patterns({"a": "a=(.)"}, full)
        os.write(matcher.stdout, b"x\na=1\n")
        assert matcher.ended(20)
        assert matcher.found == {"a": 1.0}
        matcher.close()


def test_a_pattern_that_does_not_come_to_an_end_is_known_and_can_be_ended(tmp_path: Path) -> None:
    with (tmp_path / "log").open("wb") as log:
        matcher = Patterns({"a": "a=(.)", "slow": "((?:a+)+)b"}, log)
        os.write(matcher.stdout, b"a=1\n" + b"a" * 48 + b"\n")
        assert not matcher.ended(0.5)
        assert (matcher.trying, matcher.found) == ("slow", {"a": 1.0})
        matcher.close()
