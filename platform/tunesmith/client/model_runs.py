"""`client.runs`: runs of models: submitted, listed, waited for, and their results as rows and tables."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from tunesmith.client.answers import paged, parsed
from tunesmith.client.connection import Connection
from tunesmith.client.job import SILENCE_S
from tunesmith.client.waiting import await_end
from tunesmith.errors import TunesmithError
from tunesmith.schemas.model_runs import (
    ModelAnswer,
    ModelsAnswer,
    RunAnswer,
    RunResults,
    RunStatusAnswer,
    RunSubmitted,
)

if TYPE_CHECKING:
    import pandas
    import pyarrow

MODELS, PATH = "/api/models", "/api/runs"
ENDED = ("succeeded", "failed")
Told = Callable[[RunStatusAnswer], object]


class ModelRuns:
    """The runs of models of a platform.

    run = client.runs.submit("linear_reg", {"region": "NA", "year": 2024}).wait()
    print(run.frame())
    """

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def submit(self, model_id: str, inputs: Mapping[str, Any] | None = None) -> RunHandle:
        """Run a model in the background; inputs that are left out have the model's defaults.

        Raises:
            ModelNotFound: there is none of this id; the message has the nearest.
            InvalidParameter: the model does not take an input, or not this value.
            TooManyRequests: too many runs in a short time, also after some waiting.
        """
        body = self._connection.post(PATH, {"model_id": model_id, "inputs": dict(inputs or {})})
        return RunHandle(self._connection, parsed(self._connection, RunSubmitted, body).run_id)

    def get(self, run_id: str) -> RunHandle:
        """A run. Raises RunNotFound."""
        run = RunHandle(self._connection, run_id)
        run.refresh()
        return run

    def list(
        self, model_id: str | None = None, status: str | None = None, mine: bool = False, limit: int | None = None
    ) -> Iterator[RunAnswer]:
        """Runs of a model, of a status, or that the caller submitted (all by default), newest first, at most `limit`.

        A status is `queued`, `running`, `succeeded` or `failed`.
        """
        options = {"model_id": model_id, "status": status, "mine": "true" if mine else None}
        return paged(self._connection, PATH, "runs", RunAnswer, limit, **options)


class RunHandle:
    """A run of a model. Every method that asks the server raises TunesmithError, RunNotFound among them."""

    def __init__(self, connection: Connection, run_id: str) -> None:
        self._connection = connection
        self._info: RunAnswer | None = None
        self._path = f"{PATH}/{quote(run_id, safe='')}"
        self.id = run_id

    def __repr__(self) -> str:
        return f"RunHandle({self.id!r}, {self._info.status if self._info else 'not asked yet'!r})"

    @property
    def info(self) -> RunAnswer:
        """The run as it stood when the server was last asked for it."""
        return self._info if self._info is not None else self.refresh()

    def refresh(self) -> RunAnswer:
        """The run as it stands now."""
        self._info = parsed(self._connection, RunAnswer, self._connection.get(self._path))
        return self._info

    def status(self) -> RunStatusAnswer:
        """Where it stands now."""
        return parsed(self._connection, RunStatusAnswer, self._connection.get(f"{self._path}/status"))

    def wait(
        self,
        timeout_s: float | None = None,
        raise_on_failure: bool = False,
        on_progress: Told | None = None,
    ) -> RunHandle:
        """Wait until it has ended, well or badly, and return it; `run.info.status` says how.

        `on_progress` is called with every new standing. A server that restarts meanwhile is waited for.

        Raises:
            TimeoutError: it goes on after `timeout_s` seconds.
            TunesmithError: with `raise_on_failure`: it failed. Else: the server cannot be reached for a minute, or
                knows no such run.
        """
        standing = await_end(
            self.status,
            lambda now: now.status in ENDED,
            timeout_s,
            on_progress,
            lambda now: f"the run {self.id} is still {now.status}",
        )
        if raise_on_failure and standing.status == "failed":
            raise TunesmithError(failure(standing), run_id=self.id)
        self.refresh()
        return self

    def cancel(self) -> RunStatusAnswer:
        """Stop it. Raises StateForbids where it has ended."""
        return parsed(self._connection, RunStatusAnswer, self._connection.post(f"{self._path}/cancel"))

    def summary(self) -> dict[str, Any]:
        """What the rows say on the whole: `rows`, `avg_value`, ... Raises NoResults until it has succeeded."""
        return dict(self._results(None, limit=1).summary)

    def rows(self) -> list[dict[str, Any]]:
        """All rows. Raises NoResults until it has succeeded."""
        rows: list[dict[str, Any]] = []
        page = self._results(None)
        while True:
            rows += map(dict, page.rows)
            if page.next_cursor is None:
                return rows
            page = self._results(page.next_cursor)

    def table(self) -> pyarrow.Table:
        """All rows as an Arrow table, with their types. Raises NoResults until it has succeeded."""
        import pyarrow as pa
        from pyarrow.parquet import read_table

        return read_table(pa.BufferReader(self.download("parquet")))

    def frame(self) -> pandas.DataFrame:
        """All rows as a data frame. Raises NoResults until it has succeeded."""
        found: pandas.DataFrame = self.table().to_pandas()
        return found

    def download(self, format: str) -> bytes:  # noqa: A002  (the server's word)
        """All rows as a file: `csv` or `parquet`. Raises NoResults until it has succeeded."""
        accepts = {"Accept": "*/*"}
        with self._connection.stream(f"{self._path}/results", {"format": format}, accepts, SILENCE_S) as response:
            return response.read()

    def _results(self, cursor: str | None, limit: int | None = None) -> RunResults:
        body = self._connection.get(f"{self._path}/results", cursor=cursor, limit=limit)
        return parsed(self._connection, RunResults, body)


def failure(standing: RunStatusAnswer) -> str:
    """Why a run failed, in a sentence."""
    why = f": {standing.message}" if standing.message else ""
    return f"the run {standing.run_id} failed{why}"


def models(connection: Connection) -> tuple[ModelAnswer, ...]:
    """The models that can be run."""
    return parsed(connection, ModelsAnswer, connection.get(MODELS)).models
