"""Bandwidths of the kernels of one parameter in a Parzen estimator, kept while observations come and go."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

MANY = 16
"""From so many changes at once on, sorting afresh is the cheaper way."""
NARROWEST = 0.01
"""The least bandwidth from a hundred kernels on, as a share of the range ("magic clip")."""

Rows = npt.NDArray[np.intp]
Floats = npt.NDArray[np.float64]


class Bandwidths:
    """The bandwidth of a kernel is its larger distance to its two neighbours, within limits, as in Optuna's TPE.

    Row 0 is the prior: its centre is the middle of the range, its bandwidth the range. Good from a hundred kernels on.
    """

    def __init__(self, low: float, high: float) -> None:
        self.width = high - low
        self.centre = np.full(64, 0.5 * (low + high))
        """Centres by row."""
        self.sigma = np.full(64, self.width)
        """Bandwidths by row, those of rows out of use included."""
        self._least = self.width * NARROWEST
        self._rows = np.empty(0, dtype=np.intp)
        self._sorted = np.empty(0)
        self._ambiguous = False

    def extend(self, start: int, centres: Floats) -> None:
        """Set the centres of the rows from `start` on; they are not in use yet."""
        stop = start + len(centres)
        if stop > len(self.centre):
            extra = np.full(max(stop, 2 * len(self.centre)) - len(self.centre), self.width)
            self.centre, self.sigma = np.concatenate([self.centre, extra]), np.concatenate([self.sigma, extra])
        self.centre[start:stop] = centres

    def change(self, used: Rows, added: Rows, removed: Rows) -> Rows:
        """Take rows in and out of use; which rows in use have another bandwidth now, or are new.

        `used`: all rows in use afterwards, without the prior, by trial number. Where the outermost of equal centres
        are the wider ones, their order matters, which NumPy's sort does not keep: all are sorted anew, as Optuna does.
        """
        touched: set[int] = set(added.tolist())
        if not self._ambiguous and len(added) + len(removed) < MANY:
            for row in removed.tolist():
                touched |= self._remove(row)
            for row in added.tolist():
                touched |= self._insert(row)
            touched -= set(removed.tolist())
        if self._ambiguous or len(added) + len(removed) >= MANY:
            touched.update(self._sort(used).tolist())
        return np.array(sorted(touched), dtype=np.intp)

    def distinct(self, size: int) -> tuple[Rows, Floats, Floats]:
        """By row (the first `size`) which distinct kernel it is; the centres and bandwidths of those, the prior last.

        Rows out of use are any of them.
        """
        sigma = self.sigma[self._rows]
        new = np.ones(len(sigma), dtype=np.bool_)
        new[1:] = (self._sorted[1:] != self._sorted[:-1]) | (sigma[1:] != sigma[:-1])
        codes = np.zeros(size, dtype=np.intp)
        codes[self._rows] = np.cumsum(new) - 1
        codes[0] = np.count_nonzero(new)
        return codes, np.append(self._sorted[new], self.centre[0]), np.append(sigma[new], self.sigma[0])

    def _sort(self, used: Rows) -> Rows:
        centres = self.centre[used]
        order = np.argsort(centres)
        self._rows, self._sorted = used[order], centres[order]
        gaps = np.diff(self._sorted)
        sigma = np.concatenate([gaps[:1], np.maximum(gaps[:-1], gaps[1:]), gaps[-1:]])
        np.clip(sigma, self._least, self.width, out=sigma)
        wide = sigma > self._least
        self._ambiguous = bool(((gaps == 0) & (wide[:-1] | wide[1:])).any())
        changed: Rows = self._rows[self.sigma[self._rows] != sigma]
        self.sigma[self._rows] = sigma
        return changed

    def _insert(self, row: int) -> set[int]:
        place = int(self._sorted.searchsorted(self.centre[row]))
        self._sorted = np.concatenate([self._sorted[:place], self.centre[row : row + 1], self._sorted[place:]])
        self._rows = np.concatenate([self._rows[:place], np.array([row]), self._rows[place:]])
        return self._measure(range(place - 1, place + 2))

    def _remove(self, row: int) -> set[int]:
        place = int(self._sorted.searchsorted(self.centre[row]))
        place += int(np.argmax(self._rows[place:] == row))  # among equals
        self._sorted = np.concatenate([self._sorted[:place], self._sorted[place + 1 :]])
        self._rows = np.concatenate([self._rows[:place], self._rows[place + 1 :]])
        return self._measure(range(place - 1, place + 1))

    def _measure(self, places: range) -> set[int]:
        """Reckon the bandwidths at these places of the sorted order anew; which rows have another one now."""
        changed, last = set(), len(self._sorted) - 1
        for place in range(max(places.start, 0), min(places.stop, last + 1)):
            left = self._sorted[place] - self._sorted[place - 1] if place > 0 else self._least
            right = self._sorted[place + 1] - self._sorted[place] if place < last else self._least
            sigma = min(max(left, right, self._least), self.width)
            self._ambiguous |= bool(sigma > self._least and min(left, right) == 0)
            row = int(self._rows[place])
            if sigma != self.sigma[row]:
                self.sigma[row] = sigma
                changed.add(row)
        return changed
