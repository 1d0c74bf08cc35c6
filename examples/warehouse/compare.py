"""Compare the ways to fill a warehouse, and tune the best of them.

    cd examples
    tunesmith up --detach --plugin warehouse.plugin:plugin     # once
    python -m warehouse.compare

TUNESMITH_URL names the service; without it, the platform that runs in ./.tunesmith or else http://127.0.0.1:8000.
Everything happens in a session of its own, which is made anew each time.
"""

from __future__ import annotations

import argparse
import contextlib
import tempfile
from pathlib import Path

from warehouse import data

from tunesmith import Client, SessionNotFound
from tunesmith.client.scenarios import ScenarioHandle
from tunesmith.client.sessions import SessionHandle

SESSION, DATASET = "warehouse example", "warehouse"
ALGORITHMS = ("as it is", "greedy", "local search", "simulated annealing")
TUNED = "simulated annealing"
SPACE = (
    {"name": "start_eur", "type": "float", "minimum": 0.001, "maximum": 10, "log": True},
    {"name": "end_eur", "type": "float", "minimum": 1e-5, "maximum": 0.1, "log": True},
    {"name": "share", "type": "float", "minimum": 0.01, "maximum": 0.5},
)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--trials", type=int, default=30, help="how many settings of the annealing are tried")
    parser.add_argument("--seed", type=int, default=0, help="of the data and the search")
    asked = parser.parse_args()
    with Client() as client:
        session = fresh_session(client)
        with tempfile.TemporaryDirectory() as directory:
            session.data.upload(DATASET, *data.write(Path(directory), asked.seed))
        scenarios = [session.scenarios.create(name, DATASET, name).run() for name in ALGORITHMS]
        for scenario in scenarios:
            scenario.wait(raise_on_failure=True)
        scenarios.append(tuned(session, asked.trials, asked.seed))
        show(session, scenarios)
        moved = session.scenarios.get("tuned").result
        print("\nthe first ten products of the tuned layout:")
        for row in moved[:10]:
            print(
                f"  {row['product']}  {row['slot_before']} -> {row['slot']}  {row['distance_m']:.0f} m from the depot"
            )


def fresh_session(client: Client) -> SessionHandle:
    with contextlib.suppress(SessionNotFound):
        client.sessions(SESSION).delete()
    return client.sessions.create(SESSION, max_parallel=2)


def tuned(session: SessionHandle, trials: int, seed: int) -> ScenarioHandle:
    """The scenario of the setting with the lowest daily cost."""
    optimizer = {"type": "tpe", "n_iter": trials, "seed": seed}
    job = session.optimize(TUNED, DATASET, SPACE, ["Daily cost"], optimizer)
    ended = job.wait()
    if ended.job_status != "finished":
        raise SystemExit(f"the search {ended.job_status}: {ended.job_exc_info}")
    best = ended.progress.best
    assert best is not None
    print(f"best of {trials} settings: {best.outcome:.2f} EUR a day with {dict(best.params)}\n")
    scenario = session.scenarios.from_trial(int(ended.job_meta.experiment_id), "tuned")
    return scenario.run().wait(raise_on_failure=True)


def show(session: SessionHandle, scenarios: list[ScenarioHandle]) -> None:
    """One line per KPI, one column per scenario, `*` behind the best."""
    compared = session.scenarios.compare(scenarios)
    print(f"{'':24}" + "".join(f"{scenario.tag:>21} " for scenario in compared.scenarios))
    for row in compared.rows:
        cells = (f"{row.values[one.id]:>21,.2f}{'*' if one.id in row.best else ' '}" for one in compared.scenarios)
        print(f"{row.kpi + (f' ({row.unit})' if row.unit else ''):24}" + "".join(cells))


if __name__ == "__main__":
    main()
