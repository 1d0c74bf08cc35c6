"""tunesmith: optimize any tool on a Ray cluster, with every result in SQL."""

__version__ = "0.1.0"
