"""The options of the samplers: what each takes, checked before a job is queued."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

from tunesmith.domain import Scalar


class Options(BaseModel):
    """Options of a sampler: unknown ones are refused."""

    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True)


class TpeOptions(Options):
    """Options of the tree-structured Parzen estimator."""

    n_startup_trials: int = Field(default=10, ge=0)
    """Random trials before the model is used."""
    n_ei_candidates: int = Field(default=24, ge=1, le=10_000)
    """Candidates drawn per suggestion."""
    multivariate: bool | None = None
    """Model the parameters jointly; unset: with one objective, and always with `group`."""
    group: bool = False
    """Model parameters jointly that exist together: for conditional parameters in a multivariate model."""
    constant_liar: bool = True
    """Reckon running trials as bad ones, so that parallel suggestions differ."""

    @model_validator(mode="after")
    def _groups_are_multivariate(self) -> TpeOptions:
        if self.group and self.multivariate is False:
            raise ValueError("group needs the multivariate model; set multivariate to true or leave it out")
        return self


class GpOptions(Options):
    """Options of the Gaussian process."""

    n_startup_trials: int = Field(default=10, ge=1)
    """Random trials before the model is used."""
    deterministic_objective: bool = False
    """Whether the same point always gives the same values: the model then reckons with no noise."""


class TregoOptions(Options):
    """Options of the Gaussian processes with a trust region."""

    n_startup_trials: int = Field(default=10, ge=0)
    """Random trials before the model is used."""


class CmaEsOptions(Options):
    """Options of CMA-ES.

    Restarts (IPOP, BIPOP) are not among them: Optuna gave them up in 4.4, and offers them on OptunaHub alone.
    """

    sigma0: float | None = Field(default=None, gt=0, le=1, allow_inf_nan=False)
    """First standard deviation, as a fraction of each range; unset: 1/6."""
    popsize: int | None = Field(default=None, ge=3, le=100_000)
    """Individuals of a generation; unset: 4 + floor(3 ln n) for n parameters."""
    n_startup_trials: int = Field(default=1, ge=1)
    """Random trials before the model is used."""
    use_separable_cma: bool = False
    """Keep the covariance matrix diagonal: faster to learn where parameters act independently."""
    with_margin: bool = False
    """Keep int and stepped parameters from freezing at one value (CMA-ES with margin, Hamano et al. 2022)."""
    lr_adapt: bool = False
    """Adapt the learning rate, for multimodal and noisy objectives (Nomura et al. 2023)."""

    @model_validator(mode="after")
    def _one_variant(self) -> CmaEsOptions:
        chosen = [name for name in ("use_separable_cma", "with_margin", "lr_adapt") if getattr(self, name)]
        if len(chosen) > 1:
            raise ValueError(f"{' and '.join(chosen)} cannot be combined; set one of them")
        return self


class QmcOptions(Options):
    """Options of quasi-random sequences."""

    qmc_type: Literal["sobol", "halton"] = "sobol"
    """The sequence: `sobol`, best where the number of trials is a power of 2, or `halton`."""
    scramble: bool = True
    """Shuffle the sequence by the seed; without it, every job hands out the same points."""


class NsgaOptions(Options):
    """Options of NSGA-II."""

    population_size: int = Field(default=50, ge=2, le=100_000)
    """Individuals of a generation."""
    mutation_prob: float | None = Field(default=None, ge=0, le=1)
    """Probability of mutating a parameter; unset: 1 / number of parameters."""
    crossover_prob: float = Field(default=0.9, ge=0, le=1)
    """Probability of a crossover."""
    swapping_prob: float = Field(default=0.5, ge=0, le=1)
    """Probability of swapping a parameter in a crossover."""


class Nsga3Options(NsgaOptions):
    """Options of NSGA-III."""

    dividing_parameter: int = Field(default=3, ge=1, le=100)
    """Divisions of each axis between the reference points, that the front is spread over."""


class PartialFixedOptions(Options):
    """Options of a search that holds some parameters at one value."""

    fixed_params: Mapping[str, Scalar] = Field(min_length=1, max_length=1000)
    """The parameters to hold: name -> value."""
    base: str | Mapping[str, Any] = "tpe"
    """The sampler of the other parameters: its name, or `{"type": name, option: value, ...}`."""
