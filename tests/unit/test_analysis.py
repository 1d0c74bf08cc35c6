"""Sampling, the cache of analyses, and what the service does not load before it has to."""

from __future__ import annotations

import subprocess
import sys
import threading
import time

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tuners.analysis.cache import Cache
from tuners.analysis.outline import Outline
from tuners.analysis.sampling import choose, evenly
from tuners.analysis.traces import best_line


class TestSampling:
    @given(count=st.integers(0, 500), limit=st.integers(1, 100), seed=st.integers(0, 9))
    def test_a_sample_is_as_large_as_it_may_be_and_has_the_best_and_the_newest(
        self, count: int, limit: int, seed: int
    ) -> None:
        best = np.random.default_rng(seed).permutation(count)
        chosen = choose(count, limit, best).tolist()
        assert chosen == sorted(set(chosen))
        assert len(chosen) == min(count, limit)
        assert set(best[: limit // 4].tolist()) <= set(chosen)
        assert set(range(count - limit // 4, count)) & set(range(count)) <= set(chosen)

    @given(count=st.integers(0, 500), limit=st.integers(0, 100))
    def test_what_is_evenly_spread_has_both_ends_and_no_large_gap(self, count: int, limit: int) -> None:
        chosen = evenly(count, limit).tolist()
        assert len(set(chosen)) == len(chosen) == min(count, limit)
        if min(count, limit) > 1:
            assert (chosen[0], chosen[-1]) == (0, count - 1)
            assert max(np.diff(chosen)) <= max(1, (count - 1) / (limit - 1) + 1)


class TestBestLine:
    @given(
        values=st.lists(st.tuples(st.sampled_from([-np.inf, 0.0, 1.0, 2.0, 3.0, np.inf]), st.booleans()), max_size=30),
        sign=st.sampled_from([1.0, -1.0]),
    )
    def test_it_is_the_best_feasible_value_at_every_number(self, values: list[tuple[float, bool]], sign: float) -> None:
        numbers, column = np.arange(len(values)) * 2, np.array([value for value, _ in values])
        outline = Outline(numbers, column, np.array([good for _, good in values], dtype=bool), sign)
        line = dict(zip(*(part.tolist() for part in best_line(outline, 100)), strict=True))
        best, expected = sign * np.inf, {}
        for number, (value, good) in zip(numbers.tolist(), values, strict=True):
            if good and sign * value < sign * best:
                best = expected[number] = value
        if expected:
            expected[numbers[-1]] = best
        assert line == expected

    def test_one_that_gets_better_with_every_trial_is_thinned(self) -> None:
        outline = Outline(np.arange(1000), -np.arange(1000.0), np.ones(1000, bool), 1.0)
        numbers, values = best_line(outline, 50)
        assert (len(numbers), numbers[0], numbers[-1]) == (49, 0, 999)
        assert (values == -numbers).all()


class TestCache:
    def test_an_answer_is_made_once_however_many_ask_at_once(self) -> None:
        cache, made = Cache(1000), []

        def make() -> bytes:
            time.sleep(0.1)
            made.append(1)
            return b"answer"

        found: list[bytes] = []
        askers = [threading.Thread(target=lambda: found.append(cache.get("a", make).result())) for _ in range(20)]
        for asker in askers:
            asker.start()
        for asker in askers:
            asker.join()
        assert (found, made) == ([b"answer"] * 20, [1])
        assert cache.get("a", make).done()

    def test_the_least_recently_used_is_forgotten_first(self) -> None:
        cache = Cache(10)
        for name in ("a", "b"):
            cache.get(name, lambda: b"1234").result()
        cache.get("a", lambda: b"").result()
        cache.get("c", lambda: b"1234").result()
        assert cache.size == 8
        assert [cache.get(name, lambda: b"new").result() for name in "acb"] == [b"1234", b"1234", b"new"]

    def test_what_is_too_large_is_given_but_not_kept(self) -> None:
        cache = Cache(3)
        assert cache.get("a", lambda: b"1234").result() == b"1234"
        assert cache.size == 0

    def test_an_error_is_raised_for_who_waits_and_not_kept(self) -> None:
        cache = Cache(10)
        with pytest.raises(ZeroDivisionError):
            cache.get("a", lambda: bytes(1 // 0)).result()
        assert cache.get("a", lambda: b"1").result() == b"1"


def test_the_service_starts_without_plotly_and_scikit_learn() -> None:
    code = (
        "import sys, serve_app.app; "
        "print([m for m in ('plotly', 'sklearn', 'optuna.visualization', 'optuna.importance') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
