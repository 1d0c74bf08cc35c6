#!/usr/bin/env python3
"""Say how good the newest checkpoint in $CHECKPOINT_DIR is; fails when there is none, or its loss is above a limit."""

import json
import os
import sys
from pathlib import Path

checkpoint, limit = Path(os.environ["CHECKPOINT_DIR"]) / "state.json", float(sys.argv[1])
if not checkpoint.exists():
    sys.exit(f"{checkpoint}: there is no checkpoint")
state = json.loads(checkpoint.read_text())
loss = (1 - state["x"]) ** 2 + 100 * (state["y"] - state["x"] ** 2) ** 2
print(f"after epoch {state['epoch']}: loss {loss:.6g}, limit {limit:g}")
sys.exit(0 if loss <= limit else f"the loss is above {limit:g}")
