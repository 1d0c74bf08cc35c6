"""A worker by hand: asks for an experiment's trials, runs a command for each, and tells what it measured."""
