"""The Pareto front, at once and kept up to date, against comparing every vector with every other one."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from tunesmith.store.pareto import changes_of, front_of

Vectors = dict[int, tuple[float, ...]]
FIGURES = st.sampled_from([0.0, -0.0, 1.0, 2.0, 3.0]) | st.floats(allow_nan=False, allow_infinity=False)
VECTORS = st.integers(1, 4).flatmap(lambda size: st.lists(st.tuples(*[FIGURES] * size), max_size=25)).map(
    lambda vectors: dict(enumerate(vectors))
)  # fmt: skip


def by_comparison(vectors: Vectors) -> set[int]:
    def dominates(a: tuple[float, ...], b: tuple[float, ...]) -> bool:
        return all(x <= y for x, y in zip(a, b, strict=True)) and a != b

    return {key for key, vector in vectors.items() if not any(dominates(other, vector) for other in vectors.values())}


@given(vectors=VECTORS)
def test_the_front_is_what_nothing_dominates(vectors: Vectors) -> None:
    assert front_of(vectors) == by_comparison(vectors)


@given(vectors=VECTORS, batch=st.integers(1, 7))
def test_batch_by_batch_it_becomes_the_same_front(vectors: Vectors, batch: int) -> None:
    front: set[int] = set()
    keys = list(vectors)
    for start in range(0, len(keys), batch):
        newcomers = {key: vectors[key] for key in keys[start : start + batch]}
        entered, left = changes_of({key: vectors[key] for key in front}, newcomers)
        assert entered <= set(newcomers)
        assert left <= front
        front = (front | entered) - left
        assert front == by_comparison({key: vectors[key] for key in keys[: start + batch]})


def test_equal_vectors_all_stay() -> None:
    assert front_of({1: (0.0, 1.0), 2: (0.0, 1.0), 3: (0.0, 2.0)}) == {1, 2}
    assert changes_of({1: (0.0, 1.0)}, {2: (-0.0, 1.0)}) == ({2}, set())


def test_nothing_makes_an_empty_front() -> None:
    assert front_of({}) == set()
    assert changes_of({}, {}) == (set(), set())
