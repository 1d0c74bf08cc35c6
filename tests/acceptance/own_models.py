"""Models of one's own, for tests."""

import time

import tunesmith
from tunesmith.scenarios import Float


@tunesmith.model(id="slow", params={"steps": [10, 600]})
def slow(inputs, progress):
    for step in range(inputs["steps"]):
        progress(100 * step / inputs["steps"], f"step {step}")
        time.sleep(0.1)
    return [{"step": step, "value": step / 2} for step in range(2500)]


@tunesmith.model(id="failing", inputs={"x": Float(default=1.0)})
def failing(inputs, progress):
    raise ValueError(f"no, not {inputs['x']}")


models = [slow, failing]
