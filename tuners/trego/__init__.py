"""TREGO: Bayesian optimization that searches the whole space and a trust region about the best point by turns.

Global steps of efficient global optimization (Jones et al. 1998) find the right valley; local steps, with a model of
their own and a region that grows with success and shrinks without, go down to its bottom (Diouane et al. 2023, "TREGO:
a trust-region framework for efficient global optimization"). The models are Gaussian processes in NumPy.
"""

from __future__ import annotations

from tuners.trego.sampler import Trego

__all__ = ["Trego"]
