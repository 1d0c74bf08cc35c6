"""`client.sessions`: workspaces of datasets, and of scenarios over them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any
from urllib.parse import quote

from tunesmith.client.answers import parsed, parsed_job
from tunesmith.client.connection import Connection
from tunesmith.client.datasets import Datasets
from tunesmith.client.job import Job
from tunesmith.client.scenarios import Scenarios
from tunesmith.schemas.sessions import AlgorithmList, KpiList, ParameterList, SessionAnswer, SessionList

PATH = "/api/v1/sessions"


class Sessions:
    """The sessions of a platform; there is always one.

    session = client.sessions("main")
    session.data.upload("sales", "orders.csv", "shops.xlsx")
    print(session.scenarios.create("first", "sales", "Greedy").run().wait().kpis)
    """

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def __call__(self, session: str | None = None) -> SessionHandle:
        """A session, by its name or id; without one: the default. Raises SessionNotFound."""
        return SessionHandle(self._connection, self._listed().default if session is None else session)

    def list(self) -> list[SessionHandle]:
        """All sessions, oldest first."""
        return [SessionHandle(self._connection, entry.id) for entry in self._listed().sessions]

    def create(self, display_name: str, max_parallel: int = 1) -> SessionHandle:
        """Make one; `max_parallel` of its scenarios run at once, at most. Raises NameTaken."""
        self._connection.post(PATH, {"display_name": display_name, "max_parallel": max_parallel})
        return SessionHandle(self._connection, display_name)

    def _listed(self) -> SessionList:
        return parsed(self._connection, SessionList, self._connection.get(PATH))


class SessionHandle:
    """A session. Every method that asks the server raises TunesmithError, SessionNotFound among them."""

    def __init__(self, connection: Connection, session: str) -> None:
        """`session`: its name or id. Raises SessionNotFound."""
        self._connection = connection
        self.info = parsed(connection, SessionAnswer, connection.get(f"{PATH}/{quote(session, safe='')}"))
        self._path = f"{PATH}/{self.info.id}"

    def __repr__(self) -> str:
        return f"SessionHandle({self.name!r})"

    @property
    def id(self) -> str:
        """Its UUID, which stays when it is renamed."""
        return self.info.id

    @property
    def name(self) -> str:
        """What people call it."""
        return self.info.display_name

    @property
    def data(self) -> Datasets:
        """Its datasets."""
        return Datasets(self._connection, self._path)

    @property
    def scenarios(self) -> Scenarios:
        """Its scenarios."""
        return Scenarios(self._connection, self._path)

    def algorithms(self) -> tuple[str, ...]:
        """The names of the algorithms that scenarios can run."""
        return parsed(self._connection, AlgorithmList, self._connection.get(f"{self._path}/algorithms")).algorithms

    def parameters(self, algorithm: str) -> tuple[Mapping[str, Any], ...]:
        """A descriptor of each parameter of an algorithm. Raises AlgorithmNotFound."""
        path = f"{self._path}/algorithms/{quote(algorithm, safe='')}/parameters"
        return parsed(self._connection, ParameterList, self._connection.get(path)).parameters

    def kpis(self) -> tuple[str, ...]:
        """The names of the KPIs that results are measured by."""
        return parsed(self._connection, KpiList, self._connection.get(f"{self._path}/kpis")).kpis

    def change(self, display_name: str | None = None, max_parallel: int | None = None) -> SessionHandle:
        """Rename it, or let so many of its scenarios run at once. Raises NameTaken."""
        changes = {"display_name": display_name, "max_parallel": max_parallel}
        self._connection.patch(self._path, {name: value for name, value in changes.items() if value is not None})
        self.info = parsed(self._connection, SessionAnswer, self._connection.get(self._path))
        return self

    def copy(self, new_display_name: str, scenarios: bool = False) -> SessionHandle:
        """Another session with the same datasets, and with the same scenarios if asked. Raises NameTaken."""
        path = f"{self._path}/copy" + ("?scenarios=true" if scenarios else "")
        self._connection.post(path, {"new_display_name": new_display_name})
        return SessionHandle(self._connection, new_display_name)

    def delete(self) -> None:
        """Delete it with everything in it; after the last one there is a fresh `main`. Raises StateForbids."""
        self._connection.delete(self._path)

    def optimize(
        self,
        algorithm: str,
        dataset: str,
        parameters: Iterable[Mapping[str, Any]],
        objectives: Sequence[str | Mapping[str, Any]],
        optimizer: Mapping[str, Any] | None = None,
        **fields: Any,
    ) -> Job:
        """Search the parameters of an algorithm that have the best KPIs; a job of an experiment like any other.

        `parameters`: ranges or choices, as of an experiment; `objectives`: KPIs, or `{"kpi": ..., "direction": ...}`;
        `fields`: `algo_params` that are held fixed, `data_params`, `parameter_constraints`, `priority`.

        Raises:
            InvalidParameter: the algorithm has no such parameter, or not this range; a KPI is not known.
        """
        body = {
            "algo_name": algorithm,
            "dataset_key": dataset,
            "parameters": list(parameters),
            "objectives": [{"kpi": given} if isinstance(given, str) else dict(given) for given in objectives],
            **({} if optimizer is None else {"optimizer": dict(optimizer)}),
            **fields,
        }
        answer = parsed_job(self._connection, self._connection.post(f"{self._path}/optimize", body))
        return Job(self._connection, answer.job_id, answer)
