"""Experiments and their trials in other people's formats: CSV, Parquet, Optuna's storages, Ray Tune's folders."""
