"""The data of trainings: where they lie, how they are read and checked, and how a part is held out."""

from tuners.automl.data.cells import as_category, as_number
from tuners.automl.data.source import Source, open_source
from tuners.automl.data.splitting import held_out_rows, split
from tuners.automl.data.table import Table

__all__ = ["Source", "Table", "as_category", "as_number", "held_out_rows", "open_source", "split"]
