"""Analyses in the Python client and on the command line, against a real port."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from pathlib import Path

import plotly.io
import pytest
from analysing import (
    experiment_of,
    mixed,
    write,
)
from conftest import served
from fastapi import FastAPI
from typer.testing import CliRunner, Result

from tunesmith import BadRequest, Client
from tunesmith.cli.app import app as cli
from tunesmith.domain import Experiment
from tunesmith.schemas.analysis import HistoryAnswer
from tunesmith.store import Store


@pytest.fixture
def known(sqlite_store: Store) -> Experiment:
    experiment = experiment_of(sqlite_store)
    write(sqlite_store, experiment, mixed())
    return experiment


@pytest.fixture
def url(app: FastAPI) -> Iterator[str]:
    with served(app) as url:
        yield url


def test_the_client_reads_arrays_and_figures(url: str, known: Experiment) -> None:
    with Client(url) as client:
        experiment = client.experiment(known.id)
        history = experiment.analysis("history", max_trials=10)
        assert isinstance(history, HistoryAnswer)
        assert (len(history.numbers), history.objective) == (10, "loss")
        whole = experiment.analysis("history")
        assert isinstance(whole, HistoryAnswer)
        assert math.inf in whole.values
        drawn = experiment.figure("slice", params=["lr", "depth"])
        assert {axis.title.text for axis in drawn.select_xaxes()} == {"lr", "depth"}
        assert {one.kind for one in experiment.analyses() if not one.fits} == {
            "pareto_front",
            "intermediate_values",
        }
        with pytest.raises(BadRequest, match="did you mean 'history'"):
            experiment.analysis("histori")
        with pytest.raises(BadRequest, match="there is no parameter 'x'"):
            experiment.figure("slice", params=["x"])


def test_the_command_draws_into_files(
    url: str, known: Experiment, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    number = str(known.id)
    run(url, "plot", number, "history")
    assert "Plotly.newPlot" in (tmp_path / f"experiment-{number}-history.html").read_text()
    run(url, "plot", number, "importances", "-o", "shares.json", "--evaluator", "fanova")
    assert plotly.io.from_json((tmp_path / "shares.json").read_text()).data
    printed = json.loads(run(url, "plot", number, "slice", "--params", "lr,opt", "--max-trials", "5", "--json").stdout)
    assert [trace["axis"]["name"] for trace in printed["traces"]] == ["lr", "opt"]
    assert printed["shown"] == 5
    for wrong in (["history", "-o", "a.png"], ["histori"], ["pareto_front"]):
        assert run(url, "plot", number, *wrong, code=2).stderr.startswith("error:")


def run(url: str, *arguments: str, code: int = 0) -> Result:
    """A command against a platform."""
    ended = CliRunner().invoke(cli, [*arguments, "--url", url])
    assert ended.exit_code == code, ended.output
    return ended
