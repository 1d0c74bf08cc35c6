"""Optuna's own tests of samplers, from its wheel, on every sampler that the platform wraps or writes.

Those that are samplers of Optuna's kind are tested as they are; random, qmc, bayesopt, partial_fixed and auto, which
are made of more than that, stand behind an Optuna sampler that asks the platform's search: parameter by parameter, as
functions do that ask while they run (`ByRun`), or for whole points of a space (`Whole`).

What does not apply: as Optuna does, samplers that draw numbers together are not asked to draw categoricals together
where they cannot, and the tests for one objective alone are for those that refuse several. Quasi-random points are of a
space that is known, so qmc is tested by whole points, of one parameter where a test asks for one. The tests of what is
drawn together are left out for partial_fixed, whose base is tested in its place, and that of categoricals alone for
auto, which goes once through a space of nine points and ends, where the test asks for more.

grid, brute_force, pbt and pb2 are lists and populations without a sampler object; their tests are in tests/unit.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, ClassVar

import optuna
import pytest
from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution, IntDistribution
from optuna.samplers import BaseSampler
from optuna.search_space import IntersectionSearchSpace
from optuna.testing.pytest_samplers import (
    BasicSamplerTestCase,
    MultiObjectiveSamplerTestCase,
    RelativeSamplerTestCase,
    SingleOnlySamplerTestCase,
)
from optuna.trial import FrozenTrial

from tuners import samplers
from tuners.samplers import SAMPLERS, check_options
from tuners.search import PointSearch
from tuners.search.asking import Asking
from tunesmith.domain import CallableTool, Experiment, Parameter, Search, Space, Trial, TrialState, space_of
from tunesmith.testing.factories import EPOCH, spec

Make = Callable[[], BaseSampler]
STATES = {optuna.trial.TrialState.COMPLETE: TrialState.COMPLETE, optuna.trial.TrialState.PRUNED: TrialState.PRUNED}
"""Of a trial that has ended; the others failed."""


@pytest.fixture(autouse=True)
def _quiet() -> Iterator[None]:
    """The suite holds parameters with Optuna's experimental sampler."""
    verbosity = optuna.logging.get_verbosity()
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    yield
    optuna.logging.set_verbosity(verbosity)


def making(name: str, **options: object) -> Make:
    sampler = SAMPLERS[name]
    assert sampler.build is not None
    build, checked = sampler.build, check_options(sampler.options, options, name)
    return lambda: build(checked, 1)


class Made:
    """The sampler under test: `name`, with each of `options`."""

    name: str
    options: dict[str, object]

    @pytest.fixture
    def sampler(self) -> Make:
        return making(self.name, **self.options)


class TestTpe(Made, BasicSamplerTestCase, RelativeSamplerTestCase, MultiObjectiveSamplerTestCase):
    name, options = "tpe", {"n_startup_trials": 0, "multivariate": True}


@pytest.mark.slow
class TestTpeOfSingleParameters(Made, BasicSamplerTestCase, MultiObjectiveSamplerTestCase):
    name, options = "tpe", {"n_startup_trials": 0, "multivariate": False, "constant_liar": False}


@pytest.mark.slow
class TestTpeOfGroups(Made, BasicSamplerTestCase, MultiObjectiveSamplerTestCase):
    """Not the tests of what is drawn together: they do not ask for the groups first."""

    name, options = "tpe", {"n_startup_trials": 0, "group": True}


class Evolving(Made, BasicSamplerTestCase, RelativeSamplerTestCase, SingleOnlySamplerTestCase):
    """CMA-ES draws no categoricals together."""

    name = "cmaes"
    test_sample_relative_categorical = None
    test_sample_relative_mixed = None


@pytest.mark.slow
class TestCmaEs(Evolving):
    options: ClassVar[dict[str, object]] = {}


@pytest.mark.slow
class TestSeparableCmaEs(Evolving):
    options: ClassVar[dict[str, object]] = {"use_separable_cma": True}


@pytest.mark.slow
class TestCmaEsWithMargin(Evolving):
    options: ClassVar[dict[str, object]] = {"with_margin": True}


@pytest.mark.slow
class TestAdaptiveCmaEs(Evolving):
    options: ClassVar[dict[str, object]] = {"lr_adapt": True}


class TestTrego(Made, BasicSamplerTestCase, RelativeSamplerTestCase, SingleOnlySamplerTestCase):
    name, options = "trego", {"n_startup_trials": 0}


@pytest.mark.slow
class TestNsga2(Made, BasicSamplerTestCase, MultiObjectiveSamplerTestCase):
    """Not the tests of what is drawn together: that needs a full generation first."""

    name, options = "nsga2", {}


@pytest.mark.slow
class TestNsga3(Made, BasicSamplerTestCase, MultiObjectiveSamplerTestCase):
    name, options = "nsga3", {}


@pytest.mark.slow
class TestNsgaWithSmallGenerations(Made, BasicSamplerTestCase, MultiObjectiveSamplerTestCase):
    name, options = "nsga3", {"population_size": 2}


@pytest.mark.slow
class TestGp(Made, BasicSamplerTestCase, RelativeSamplerTestCase, MultiObjectiveSamplerTestCase):
    name, options = "gp", {"n_startup_trials": 1}


class PlatformSampler(BaseSampler):
    """The platform's search as a sampler of Optuna's; every trial that it gave a parameter, it is told of."""

    def __init__(self, search: Search) -> None:
        self._search = search
        self._asked: dict[int, list[PointSearch]] = {}
        self._lock = threading.Lock()

    def infer_relative_search_space(self, study: optuna.Study, trial: FrozenTrial) -> dict[str, BaseDistribution]:
        return {}

    def sample_relative(
        self, study: optuna.Study, trial: FrozenTrial, search_space: dict[str, BaseDistribution]
    ) -> dict[str, Any]:
        return {}

    def after_trial(
        self,
        study: optuna.Study,
        trial: FrozenTrial,
        state: optuna.trial.TrialState,
        values: Sequence[float] | None,
    ) -> None:
        with self._lock:
            for points in self._asked.pop(trial.number, ()):
                points.tell(ended(trial, state, values, points.system_attrs(trial.number)))

    def searching(self, experiment: Experiment, history: Sequence[Trial] = ()) -> PointSearch:
        """The search of a job of this experiment, as it is queued."""
        search = self._search
        planned = samplers.plan(experiment, search, max_grid_points=1000).search if search.type == "auto" else search
        return PointSearch(experiment, planned, history, len(history))


class ByRun(PlatformSampler):
    """Each parameter when it is asked for."""

    _points: PointSearch | None = None

    def sample_independent(
        self, study: optuna.Study, trial: FrozenTrial, param_name: str, param_distribution: BaseDistribution
    ) -> Any:
        if self._points is None:
            tool = CallableTool(name="m:f", define_by_run=True)
            history = [past(trial) for trial in study.trials if trial.state.is_finished()]
            self._points = self.searching(experiment_of(study, space_of([]), tool=tool), history)
        if trial.number not in self._asked:
            assert self._points.ask(trial.number) == {}
            self._asked[trial.number] = [self._points]
        return self._points.suggest(trial.number, parameter_of(param_name, param_distribution))


class Whole(PlatformSampler):
    """Points of the space that all trials have; of a single parameter where it is drawn alone."""

    def __init__(self, search: Search) -> None:
        super().__init__(search)
        self._searches: dict[str, PointSearch] = {}

    def infer_relative_search_space(self, study: optuna.Study, trial: FrozenTrial) -> dict[str, BaseDistribution]:
        return IntersectionSearchSpace().calculate(study)

    def sample_relative(
        self, study: optuna.Study, trial: FrozenTrial, search_space: dict[str, BaseDistribution]
    ) -> dict[str, Any]:
        if not search_space:
            return {}
        space = Space(parameters=tuple(parameter_of(*item) for item in search_space.items()))
        with self._lock:
            key = space.model_dump_json()
            if key not in self._searches:
                self._searches[key] = self.searching(experiment_of(study, space))
            point = self._searches[key].ask(trial.number)
            self._asked.setdefault(trial.number, []).append(self._searches[key])
        assert point is not None, "a list of points has ended"
        assert space.problems(point) == []
        return point

    def sample_independent(
        self, study: optuna.Study, trial: FrozenTrial, param_name: str, param_distribution: BaseDistribution
    ) -> Any:
        return self.sample_relative(study, trial, {param_name: param_distribution})[param_name]


def experiment_of(study: optuna.Study, space: Space, **changes: Any) -> Experiment:
    """An experiment with the study's objectives."""
    objectives = [f"{'-' * (d.name == 'MAXIMIZE')}metric{i}" for i, d in enumerate(study.directions)]
    content = spec(objectives=objectives, space=space, **changes)
    return Experiment(
        id=1, workspace_id="w", spec=content, name="e", tags=(), archived=False, created_at=EPOCH, counts={}
    )


def parameter_of(name: str, distribution: BaseDistribution) -> Parameter:
    if isinstance(distribution, CategoricalDistribution):
        return Parameter(name=name, type="categorical", choices=distribution.choices)
    assert isinstance(distribution, FloatDistribution | IntDistribution)
    return Parameter(
        name=name,
        type="int" if isinstance(distribution, IntDistribution) else "float",
        minimum=distribution.low,
        maximum=distribution.high,
        log=distribution.log,
        step=distribution.step,
    )


def past(trial: FrozenTrial) -> Trial:
    """A finished trial that the search did not see, as the platform keeps it."""
    asking = Asking({}, {})
    for name, value in trial.params.items():
        asking.note(parameter_of(name, trial.distributions[name]), value)
    return ended(trial, trial.state, trial.values, asking.attrs)


def ended(
    trial: FrozenTrial,
    state: optuna.trial.TrialState,
    values: Sequence[float] | None,
    attrs: Mapping[str, Any] | None,
) -> Trial:
    return Trial(
        experiment_id=1,
        number=trial.number,
        job_id="job",
        run_number=1,
        state=STATES.get(state, TrialState.FAILED),
        params=trial.params,
        values=None if values is None else tuple(values),
        system_attrs=attrs,
        started_at=EPOCH,
        ended_at=EPOCH,
    )


class Adapted:
    """The sampler under test: the platform's `search` behind an `adapter`."""

    adapter: type[PlatformSampler]
    search: Search

    @pytest.fixture
    def sampler(self) -> Make:
        return lambda: self.adapter(self.search)


class TestRandom(Adapted, BasicSamplerTestCase, MultiObjectiveSamplerTestCase):
    adapter, search = ByRun, Search(type="random", seed=1)


@pytest.mark.slow
class TestRandomOfWholePoints(Adapted, BasicSamplerTestCase, RelativeSamplerTestCase, MultiObjectiveSamplerTestCase):
    adapter, search = Whole, Search(type="random", seed=1)


@pytest.mark.slow
class TestQmc(Adapted, BasicSamplerTestCase, RelativeSamplerTestCase, MultiObjectiveSamplerTestCase):
    adapter, search = Whole, Search(type="qmc", seed=1)


@pytest.mark.slow
class TestHalton(Adapted, BasicSamplerTestCase, RelativeSamplerTestCase, MultiObjectiveSamplerTestCase):
    adapter, search = Whole, Search(type="qmc", seed=1, options={"qmc_type": "halton"})


@pytest.mark.slow
class TestBayesopt(Adapted, BasicSamplerTestCase, MultiObjectiveSamplerTestCase):
    adapter, search = ByRun, Search(type="bayesopt", seed=1, n_init=2, n_iter=100)


@pytest.mark.slow
class TestBayesoptOfWholePoints(Adapted, RelativeSamplerTestCase):
    adapter, search = Whole, Search(type="bayesopt", seed=1, n_init=1, n_iter=100)


@pytest.mark.slow
class TestPartialFixed(Adapted, BasicSamplerTestCase, MultiObjectiveSamplerTestCase):
    """With a value for the `z` that some of the tests ask for."""

    adapter = ByRun
    search = Search(type="partial_fixed", seed=1, options={"fixed_params": {"z": 0.5}, "base": "tpe"})

    def test_what_is_held_does_not_move(self, sampler: Make) -> None:
        study = optuna.create_study(sampler=sampler())
        study.optimize(lambda trial: trial.suggest_float("x", 0, 1) + trial.suggest_float("z", 0, 1), n_trials=15)
        assert {trial.params["z"] for trial in study.trials} == {0.5}
        assert len({trial.params["x"] for trial in study.trials}) == 15


class TestAuto(Adapted, BasicSamplerTestCase, MultiObjectiveSamplerTestCase):
    adapter, search = ByRun, Search(type="auto", seed=1, n_iter=100)


class TestAutoOfWholePoints(Adapted, RelativeSamplerTestCase):
    adapter, search = Whole, Search(type="auto", seed=1, n_iter=100)
    test_sample_relative_categorical = None


def test_every_sampler_object_is_tested() -> None:
    """Whoever adds a sampler adds it here."""
    tested = {case.name for case in Made.__subclasses__() + Evolving.__subclasses__() if hasattr(case, "name")}
    tested |= {case.search.type for case in Adapted.__subclasses__()}
    assert tested == {name for name, kind in SAMPLERS.items() if not kind.finite and not kind.population}
