"""A configuration as functions and scripts get it."""

from __future__ import annotations

from tunesmith.domain.value import Scalar


class Params(dict[str, Scalar]):
    """A configuration: `params["x"]` or `params.x`."""

    def __getattr__(self, name: str) -> Scalar:
        try:
            return self[name]
        except KeyError:
            known = ", ".join(self) or "none"
            raise AttributeError(f"no parameter {name!r} in this configuration; there are: {known}") from None
