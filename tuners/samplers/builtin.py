"""The platform's own samplers; Optuna and torch are imported only when one is built."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from typing import Any

from tuners import pbt
from tuners.samplers.options import (
    CmaEsOptions,
    GpOptions,
    Nsga3Options,
    NsgaOptions,
    Options,
    PartialFixedOptions,
    QmcOptions,
    TpeOptions,
    TregoOptions,
)
from tuners.samplers.sampler import CHEAP, Sampler

GP_REMEDY = "pip install 'tunesmith[gp]'"


def _tpe(options: TpeOptions, seed: int) -> Any:
    if options.group:
        from tuners.samplers.grouped import GroupedTpe

        return GroupedTpe(seed=seed, **options.model_dump())

    from tuners.tpe import Tpe

    return Tpe(seed=seed, **options.model_dump(exclude={"group"}))


def _gp(options: GpOptions, seed: int) -> Any:
    from tuners.samplers.gp import Gp

    return Gp(seed=seed, **options.model_dump())


def _cmaes(options: CmaEsOptions, seed: int) -> Any:
    from tuners.samplers.cmaes import CmaEs

    return CmaEs(seed=seed, **options.model_dump())


def _trego(options: TregoOptions, seed: int) -> Any:
    from tuners.trego import Trego

    return Trego(seed=seed, **options.model_dump())


def _nsga2(options: NsgaOptions, seed: int) -> Any:
    from tuners.samplers.genetic import Nsga2

    return Nsga2(seed=seed, **options.model_dump())


def _nsga3(options: Nsga3Options, seed: int) -> Any:
    from tuners.samplers.genetic import Nsga3

    return Nsga3(seed=seed, **options.model_dump())


def samplers() -> Iterator[Sampler]:
    """Every sampler of the platform, in the order to try them."""
    yield Sampler(
        name="auto",
        description="Chooses a sampler by space, objectives, budget and parallelism, and says which and why.",
        constraints=True,
    )
    yield from _models()
    yield from _populations()
    yield from _plain()
    yield from _trained()
    yield Sampler(
        name="partial_fixed",
        description="Holds some parameters at one value, and searches the others with another sampler.",
        options=PartialFixedOptions,
        fields=frozenset({"n_init", "n_iter", "num_configs_per_param"}),
    )


def _models() -> Iterator[Sampler]:
    yield Sampler(
        name="tpe",
        description="Tree-structured Parzen estimator (Bergstra et al. 2011).",
        options=TpeOptions,
        build=_tpe,
        constraints=True,
    )
    yield Sampler(
        name="bayesopt",
        description="Bayesian optimization: n_init random points, then n_iter from a model (TPE).",
        options=TpeOptions,
        build=_tpe,
        fields=frozenset({"n_init", "n_iter"}),
        required=("n_init", "n_iter"),
        constraints=True,
    )
    yield Sampler(
        name="gp",
        description="Gaussian process with expected improvement: the most from few trials, slow beyond some hundred.",
        options=GpOptions,
        build=_gp,
        constraints=True,
        conditional_spaces=False,
        redraws=1,
        requires={"torch": GP_REMEDY, "scipy": GP_REMEDY},
    )


def _populations() -> Iterator[Sampler]:
    yield Sampler(
        name="trego",
        description="Gaussian processes with a trust region (Diouane et al. 2023): a few hundred trials of numbers.",
        options=TregoOptions,
        build=_trego,
        multi_objective=False,
        mixed_spaces=False,
        conditional_spaces=False,
        redraws=1,
    )
    yield Sampler(
        name="cmaes",
        description="Covariance matrix adaptation (Hansen 2016): numbers, one objective, hundreds of trials or more; "
        "categorical and conditional parameters are drawn independently, at random.",
        options=CmaEsOptions,
        build=_cmaes,
        multi_objective=False,
        mixed_spaces=False,
        conditional_spaces=False,
        requires={"cmaes": "pip install cmaes"},
    )
    yield Sampler(
        name="nsga2",
        description="Genetic algorithm for several objectives (Deb et al. 2002).",
        options=NsgaOptions,
        build=_nsga2,
        constraints=True,
        conditional_spaces=False,
    )
    yield Sampler(
        name="nsga3",
        description="Genetic algorithm for many objectives, spread by reference points (Deb and Jain 2014).",
        options=Nsga3Options,
        build=_nsga3,
        constraints=True,
        conditional_spaces=False,
    )


def _plain() -> Iterator[Sampler]:
    yield Sampler(name="random", description="Independent, uniform draws from the space.", learns=False, redraws=CHEAP)
    yield Sampler(
        name="qmc",
        description="Quasi-random points (Sobol or Halton) that fill the space more evenly than random ones.",
        options=QmcOptions,
        define_by_run=False,
        learns=False,
        redraws=CHEAP,
        requires={"scipy": "pip install scipy"},
    )
    yield Sampler(
        name="grid",
        description="Every combination of evenly spaced values, ends included.",
        options=Options,
        fields=frozenset({"num_configs_per_param"}),
        required=("num_configs_per_param",),
        define_by_run=False,
        learns=False,
        finite=True,
    )
    yield Sampler(
        name="brute_force",
        description="Every point of a finite space once, those left out that the experiment has tried already.",
        fields=frozenset(),
        define_by_run=False,
        learns=False,
        finite=True,
    )


def _trained() -> Iterator[Sampler]:
    for name, description in (
        ("pbt", "Population-based training (Jaderberg et al. 2017): copies the best while they train."),
        ("pb2", "Population-based bandits (Parker-Holder et al. 2020): the same, with a model that moves the numbers."),
    ):
        yield Sampler(
            name=name,
            description=description,
            options=pbt.PopulationOptions,
            multi_objective=False,
            constraints=True,
            conditional_spaces=name == "pbt",
            define_by_run=False,
            alone=True,
            population=True,
            check=partial(pbt.check, bandits=name == "pb2"),
        )
