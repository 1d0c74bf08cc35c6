"""The database: `open_store(url)`, then `with store.write() as tx:`; values in, values out, rows never leave.

One `with` is one transaction, committed when the block ends and rolled back when it raises. No network or Ray call
belongs inside it.
"""

from tunesmith.store.store import Store, Tx, open_store

__all__ = ["Store", "Tx", "open_store"]
