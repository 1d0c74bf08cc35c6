"""`session.scenarios`: algorithms with their parameters on a dataset: made, run, waited for, compared."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any
from urllib.parse import quote

from tunesmith.client.answers import parsed, parsed_list
from tunesmith.client.connection import Connection
from tunesmith.client.job import SILENCE_S
from tunesmith.client.waiting import await_end
from tunesmith.domain.session import Comparison
from tunesmith.errors import ScenarioNotFound, TunesmithError
from tunesmith.schemas.scenarios import KpiAnswer, ScenarioAnswer, ScenarioStatus

ENDED = ("complete", "failed")


class Scenarios:
    """The scenarios of a session."""

    def __init__(self, connection: Connection, session_path: str) -> None:
        self._connection = connection
        self._session_path = session_path
        self._path = f"{session_path}/scenarios"

    def create(
        self,
        tag: str,
        dataset: str,
        algorithm: str,
        parameters: Mapping[str, Any] | None = None,
        data_parameters: Mapping[str, Any] | None = None,
    ) -> ScenarioHandle:
        """Make a scenario; parameters that are left out have their defaults. It is not run yet.

        Raises:
            AlgorithmNotFound, DatasetNotFound: there is none of this name.
            InvalidParameter: the algorithm does not take a parameter, or not this value.
            NameTaken: another one has this tag.
        """
        body = {
            "tag": tag,
            "dataset_key": dataset,
            "algo_name": algorithm,
            "algo_params": dict(parameters or {}),
            "data_params": dict(data_parameters or {}),
        }
        return self._made(self._connection.post(self._path, body))

    def from_trial(self, experiment_id: int | str, tag: str, number: int | None = None) -> ScenarioHandle:
        """A scenario with the parameters of a trial of an optimization, of the best one without a number."""
        body = {"experiment_id": experiment_id, "tag": tag, **({} if number is None else {"number": number})}
        return self._made(self._connection.post(f"{self._path}/from-trial", body))

    def list(self) -> list[ScenarioHandle]:
        """All scenarios, oldest first, without their results."""
        answers = parsed_list(self._connection, ScenarioAnswer, self._connection.get(self._path, summary="true"))
        return [ScenarioHandle(self._connection, self._path, answer.id, answer) for answer in answers]

    def get(self, scenario: str) -> ScenarioHandle:
        """A scenario, by its tag or id. Raises ScenarioNotFound."""
        found = next((one for one in self.list() if scenario in (one.id, one.tag)), None)
        if found is None:
            raise ScenarioNotFound(f"The session has no scenario {scenario!r}", scenario=scenario)
        return found

    def running(self) -> ScenarioHandle | None:
        """The scenario that runs, if any does."""
        body = self._connection.get(f"{self._session_path}/processing")
        return None if body is None else self._made(body)

    def compare(self, scenarios: Sequence[ScenarioHandle | str]) -> Comparison:
        """Scenarios (or their ids) side by side: a row for each KPI, the best one marked."""
        ids = [one if isinstance(one, str) else one.id for one in scenarios]
        return parsed(self._connection, Comparison, self._connection.post(f"{self._path}/compare", {"ids": ids}))

    def _made(self, body: Any) -> ScenarioHandle:
        answer = parsed(self._connection, ScenarioAnswer, body)
        return ScenarioHandle(self._connection, self._path, answer.id, answer)


class ScenarioHandle:
    """A scenario. Every method that asks the server raises TunesmithError, ScenarioNotFound among them."""

    def __init__(self, connection: Connection, path: str, scenario_id: str, info: ScenarioAnswer) -> None:
        self._connection = connection
        self._path = f"{path}/{quote(scenario_id, safe='')}"
        self.id = scenario_id
        self.info = info
        """The scenario as it stood when the server was last asked for it."""

    def __repr__(self) -> str:
        return f"ScenarioHandle({self.tag!r}, {self.info.status!r})"

    @property
    def tag(self) -> str:
        """Its name."""
        return self.info.tag

    @property
    def kpis(self) -> Mapping[str, KpiAnswer | None]:
        """KPI -> what it was when the server was last asked; None while it is not computed."""
        return self.info.kpis

    @property
    def result(self) -> Any:
        """What the algorithm returned; `{"error": message}` of a failed run; None before."""
        return self.refresh().result

    def refresh(self) -> ScenarioAnswer:
        """The scenario as it stands now."""
        self.info = parsed(self._connection, ScenarioAnswer, self._connection.get(self._path))
        return self.info

    def status(self) -> ScenarioStatus:
        """Where it stands now."""
        return parsed(self._connection, ScenarioStatus, self._connection.get(f"{self._path}/status"))

    def run(self) -> ScenarioHandle:
        """Run it in the background. Raises StateForbids unless it is `created`."""
        return self._ask("run")

    def cancel(self) -> ScenarioHandle:
        """Stop its run, which has failed then. Raises StateForbids."""
        return self._ask("cancel")

    def reset(self) -> ScenarioHandle:
        """Forget its run, so that it can be run again. Raises StateForbids unless that has ended."""
        return self._ask("reset")

    def delete(self) -> None:
        """Delete it. Raises StateForbids while it runs."""
        self._connection.delete(self._path)

    def wait(
        self,
        timeout_s: float | None = None,
        raise_on_failure: bool = False,
        on_progress: Callable[[ScenarioStatus], object] | None = None,
    ) -> ScenarioHandle:
        """Wait until its run has ended, well or badly, and return it; `info.status` says how.

        `on_progress` is called with every new standing. A server that restarts meanwhile is waited for.

        Raises:
            TimeoutError: it goes on after `timeout_s` seconds.
            TunesmithError: with `raise_on_failure`: it failed. Else: the server cannot be reached for a minute.
        """
        await_end(
            self.status,
            lambda now: now.status in ENDED,
            timeout_s,
            on_progress,
            lambda now: f"the scenario {self.tag!r} is still {now.status}",
        )
        self.refresh()
        if raise_on_failure and self.info.status == "failed":
            raise TunesmithError(f"the scenario {self.tag!r} failed: {self.info.result['error']}", scenario=self.id)
        return self

    def log(self, follow: bool = False) -> Iterator[str]:
        """The lines that its run printed, and the traceback if it failed; with `follow`, those still to come too."""
        params = {"follow": "true" if follow else None}
        silence_s = None if follow else SILENCE_S
        with self._connection.stream(f"{self._path}/log", params, {"Accept": "text/plain"}, silence_s) as response:
            yield from response.iter_lines()

    def _ask(self, what: str) -> ScenarioHandle:
        self.info = parsed(self._connection, ScenarioAnswer, self._connection.post(f"{self._path}/{what}"))
        return self
