"""An objective in Optuna's define-by-run style runs as it is: parameters are asked for where they are needed.

python examples/python_api/define_by_run.py
"""

from __future__ import annotations

from tuners import Trial, tune


def objective(trial: Trial) -> float:
    layers = trial.suggest_int("layers", 1, 3)
    widths = [trial.suggest_int(f"width_{layer}", 4, 64, log=True) for layer in range(layers)]
    rate = trial.suggest_float("rate", 1e-4, 1e-1, log=True)
    trial.set_user_attr("weights", sum(widths))
    return abs(sum(widths) - 50) / 50 + abs(rate - 0.01)


def main() -> None:
    result = tune(objective, trials=50, seed=1)
    print(result)
    print(result.dataframe().sort_values("value")[["value", "params_layers", "metrics_weights"]].head(3).to_string())


if __name__ == "__main__":
    main()
