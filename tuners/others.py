"""What others do to an experiment while a search of it runs: trials that workers asked for, or an Optuna study made."""

from __future__ import annotations

from tunesmith.domain import FINISHED, Trial
from tunesmith.store import Tx


class Others:
    """Follows the trials of an experiment that are not of one job; each look costs what changed since the last one."""

    def __init__(self, tx: Tx, experiment_id: int, not_of: str | None = None) -> None:
        """Begin with the trials as they are now. `not_of`: the job whose trials are left out."""
        self.experiment_id, self.not_of = experiment_id, not_of
        self._above = tx.newest_id(experiment_id)
        self.unfinished = set(tx.unfinished_numbers(experiment_id, not_of))
        """The trials that were not finished at the last look."""

    def changed(self, tx: Tx) -> list[Trial]:
        """Trials that are new, or were unfinished at the last look, as they are now; by number."""
        above = tx.newest_id(self.experiment_id)
        found = tx.changed_trials(self.experiment_id, self._above, self.unfinished, self.not_of)
        self.unfinished = {trial.number for trial in found if trial.state not in FINISHED}
        self._above = above
        return found
