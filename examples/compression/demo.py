"""The demo: start a platform of its own, let it tune Python's compressors on a real file, show what came out, stop it.

    make demo                                   # or: python examples/compression/demo.py
    DEMO_TRIALS=200 make demo

Everything lies in a temporary directory; ports are free ones, so that it runs beside any other platform.
"""

from __future__ import annotations

import os
import shlex
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from report import print_report
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from sample import write_sample

from tunesmith import Client, JobAnswer
from tunesmith.client import Job, RunFile, read_run_file

HERE = Path(__file__).resolve().parent
TUNESMITH = str(Path(sys.executable).with_name("tunesmith"))
TRIALS = int(os.environ.get("DEMO_TRIALS", "60"))
PARAMETERS: list[dict[str, Any]] = [
    {"name": "codec", "type": "categorical", "choices": ["zlib", "bz2", "lzma"]},
    {"name": "zlib_level", "type": "int", "minimum": 1, "maximum": 9, "when": {"codec": ["zlib"]}},
    {
        "name": "zlib_strategy",
        "type": "categorical",
        "choices": ["default", "filtered", "huffman", "rle", "fixed"],
        "when": {"codec": ["zlib"]},
    },
    {"name": "bz2_level", "type": "int", "minimum": 1, "maximum": 9, "when": {"codec": ["bz2"]}},
    {"name": "lzma_preset", "type": "int", "minimum": 0, "maximum": 9, "when": {"codec": ["lzma"]}},
    {"name": "block_kib", "type": "int", "minimum": 32, "maximum": 2048, "log": True},
]
OPTIONS = " ".join(f"--{parameter['name']}=${{{parameter['name']}}}".replace("_", "-", 1) for parameter in PARAMETERS)


def experiment(file: Path) -> dict[str, Any]:
    """The body of `POST /api/v1/experiments`."""
    command = shlex.join([sys.executable, "-IS", str(HERE / "compress.py")])
    return {
        "tool_name": "compress",
        "parameters": PARAMETERS,
        "command_template_string": f"exec {command} {OPTIONS} {shlex.quote(str(file))}",
        "objectives": [
            {"metric": "size_bytes", "direction": "minimize"},
            {"metric": "compress_s", "direction": "minimize"},
        ],
        "trial_timeout_s": 60,
    }


def main() -> None:
    console, begun = Console(), time.monotonic()
    signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's background jobs come with it ignored
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    with tempfile.TemporaryDirectory(prefix="tunesmith-demo-", ignore_cleanup_errors=True) as directory:
        file = write_sample(Path(directory) / "input.bin")
        console.print(f"[bold]1.[/] a file of {file.stat().st_size:,} bytes: source text, a log, measurements")
        with platform(console, Path(directory) / "data") as running:
            console.print(f"[bold]3.[/] {TRIALS} trials of codec, level and block size, on size and time, by TPE")
            handle = Client(running.url).create_experiment(experiment(file))
            watch(console, handle.submit({"type": "tpe", "n_iter": TRIALS, "seed": 7}))
            trials = list(handle.trials(state="complete", order="number"))
            console.print()
            print_report(console, sorted(trials, key=lambda t: t.number), handle.front(), file.stat().st_size)
    console.print(
        f"\nDone in {time.monotonic() - begun:.0f} s, everything stopped. [bold]make up[/] starts one that stays."
    )


@contextmanager
def platform(console: Console, data: Path) -> Iterator[RunFile]:
    """A platform of the demo's own, stopped at the end, however it ends."""
    begun = time.monotonic()
    # Whatever the shell has set for another platform or cluster is not for this one.
    environment = {k: v for k, v in os.environ.items() if not k.startswith(("TUNESMITH_", "RAY_"))}
    try:
        with console.status("starting Ray, Ray Serve and the service ..."):
            running = start(data, environment)
        console.print(f"[bold]2.[/] a platform, up in {time.monotonic() - begun:.1f} s; while it runs:")
        console.print(f"   REST docs      {running.url}/docs")
        console.print(f"   Ray dashboard  {running.dashboard_url or 'off'}")
        yield running
    finally:
        signal.signal(signal.SIGINT, signal.SIG_IGN)  # a second Ctrl-C must not leave Ray behind
        with console.status("stopping ..."):
            subprocess.run([TUNESMITH, "down", "--data-dir", str(data)], env=environment, capture_output=True)


def start(data: Path, environment: dict[str, str]) -> RunFile:
    """`tunesmith up --detach`, in a session of its own, so that Ctrl-C reaches it through here only."""
    command = [TUNESMITH, "up", "--dev", "--detach", "--port", "0", "--data-dir", str(data)]
    pipes: dict[str, Any] = {"stdin": subprocess.DEVNULL, "stdout": subprocess.PIPE, "stderr": subprocess.STDOUT}
    up = subprocess.Popen(command, env=environment, start_new_session=True, text=True, **pipes)
    try:
        output, _ = up.communicate()
    except BaseException:
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        up.send_signal(signal.SIGINT)  # it ends what it has started before it ends itself
        up.wait()
        raise
    running = read_run_file(data / "run.json")
    if up.returncode or running is None:
        sys.exit(f"tunesmith up failed:\n{output}")
    return running


def watch(console: Console, job: Job) -> None:
    """A live bar until the job's end; ends the demo when the job fails."""
    columns = (
        TextColumn("  "),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("{task.fields[best]}"),
        TimeElapsedColumn(),
    )
    with Progress(*columns, console=console) as bar:
        task = bar.add_task("", total=TRIALS, best="")

        def update(answer: JobAnswer) -> None:
            best = answer.progress.best
            note = "" if best is None else f"smallest {best.outcome:,.0f} bytes ({best.params['codec']})"
            bar.update(task, completed=answer.progress.finished, best=note)

        ended = job.wait(on_progress=update)
    if ended.job_status != "finished":
        sys.exit(f"the job {ended.job_status}: {ended.job_exc_info or ended.message}")


if __name__ == "__main__":
    try:
        main()
    except KeyboardInterrupt:
        sys.exit(130)
