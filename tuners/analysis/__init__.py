"""Analyses of an experiment's trials: read from SQL in outline, sampled, and given as arrays or as Plotly figures."""
