"""Making ready for trials that are kept apart: whether this machine can, and what they may not get at."""

from __future__ import annotations

import os
import shutil

from tuners.messages import Isolation
from tuners.tools.isolation import user_of
from tuners.tools.running import Failed
from tunesmith.errors import InvalidSettings
from tunesmith.settings import Settings
from tunesmith.storage import Storage

UMASK = 0o066
"""Files are their owner's alone, and directories can be passed through by whoever knows the name of what is inside."""


def check(settings: Settings) -> None:
    """Raise InvalidSettings where trials are to run on this machine, and it cannot keep them apart."""
    if settings.ray_address is not None:
        return
    try:
        user_of(Isolation(settings.trial_user))
    except Failed as error:
        raise InvalidSettings(str(error)) from error
    if settings.trial_sandbox == "bwrap" and shutil.which("bwrap") is None:
        raise InvalidSettings("TUNESMITH_TRIAL_SANDBOX=bwrap: this machine has no bwrap; apt-get install bubblewrap")


def close_to_others(settings: Settings) -> None:
    """Let the user that trials run as get to the directories of trials, and to nothing else in the data directory.

    From now on, this process and those that it starts make files for their owner alone.
    """
    os.umask(UMASK)
    root, artifacts = settings.data_dir.absolute(), Storage(settings.artifacts).local
    for path in (path for path in root.iterdir() if not path.is_symlink() and path != artifacts):
        path.chmod(0o700 if path.is_dir() else 0o600)
    for path in (path for path in (root, artifacts) if path is not None and path.is_dir()):
        path.chmod(0o711)
