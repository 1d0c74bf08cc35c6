"""The tools: how a configuration is evaluated. Each takes a batch's spec and one evaluation, and gives an outcome."""
