"""The Python API of tuning scripts: `tune`, with no server around it."""
