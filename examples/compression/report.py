"""What the demo prints at its end: the best configurations, the Pareto set, and two pictures in text."""

from __future__ import annotations

import math
from collections.abc import Sequence

from rich import box
from rich.console import Console
from rich.table import Table

from tunesmith import TrialAnswer

WIDTH, HEIGHT = 60, 14


def print_report(console: Console, trials: Sequence[TrialAnswer], front: Sequence[TrialAnswer], original: int) -> None:
    """Everything, for complete trials in the order of their numbers and the Pareto set of (size, time)."""
    front = sorted(front, key=_size)
    table = Table(title=f"Pareto set: {len(front)} of {len(trials)} trials", title_justify="left", box=box.SIMPLE)
    for column in ("trial", "codec, level, block", "size", "ratio", "compress", "decompress"):
        table.add_column(column, justify="left" if column.startswith("codec") else "right", no_wrap=True)
    for trial in front:
        table.add_row(*_row(trial))
    console.print(table)
    console.print(f"[bold]smallest[/]  {_sentence(front[0])}", soft_wrap=True)
    console.print(f"[bold]fastest[/]   {_sentence(front[-1])}", soft_wrap=True)
    console.print(f"\n{scatter(trials, front)}", highlight=False, markup=False)
    console.print(f"\n{progress(trials)}", highlight=False, markup=False)


def scatter(trials: Sequence[TrialAnswer], front: Sequence[TrialAnswer]) -> str:
    """Time (logarithmic, to the right) against size (upwards); a letter per codec, a capital one on the front."""
    times = [math.log(max(_time(trial), 1e-4)) for trial in trials]
    sizes = [math.log(_size(trial)) for trial in trials]
    on_front = {trial.number for trial in front}
    grid = [[" "] * WIDTH for _ in range(HEIGHT)]
    for trial, x, y in sorted(zip(trials, times, sizes, strict=True), key=lambda row: row[0].number in on_front):
        letter = str(trial.params["codec"])[0]
        column, row = _place(x, times, WIDTH), HEIGHT - 1 - _place(y, sizes, HEIGHT)
        grid[row][column] = letter.upper() if trial.number in on_front else letter
    left, right = f"{min(map(_time, trials)):.3f} s", f"{max(map(_time, trials)):.3f} s"
    lines = [
        f"  size: {max(map(_size, trials)):,.0f} bytes at the top, {min(map(_size, trials)):,.0f} at the bottom",
        *(f"  |{''.join(row)}".rstrip() for row in grid),
        f"  +{'-' * WIDTH}",
        f"   {left}{right:>{WIDTH - len(left)}} to compress",
        "  z zlib, b bz2, l lzma; capital letters: the Pareto set",
    ]
    return "\n".join(lines)


def progress(trials: Sequence[TrialAnswer]) -> str:
    """The smallest size so far against the number of trials: a line per improvement, as long as it stood."""
    steps: list[tuple[int, float]] = []
    for position, trial in enumerate(trials):
        if not steps or _size(trial) < steps[-1][1]:
            steps.append((position, _size(trial)))
    ends = [position for position, _ in steps[1:]] + [len(trials)]
    lines = ["  smallest size so far, by trial"]
    for (start, size), end in zip(steps, ends, strict=True):
        first, last = start * WIDTH // len(trials), end * WIDTH // len(trials)
        lines.append(f"  {size:>11,.0f} |{' ' * first}{'#' * max(1, last - first)}")
    return "\n".join([*lines, f"  {'':>11} +{'-' * WIDTH}", f"  {'':>11}  0{len(trials):>{WIDTH - 1}}"])


def _place(value: float, among: Sequence[float], cells: int) -> int:
    low, high = min(among), max(among)
    return 0 if high == low else min(cells - 1, int((value - low) / (high - low) * cells))


def _row(trial: TrialAnswer) -> list[str]:
    metrics = {name: value or 0.0 for name, value in trial.metrics.items()}
    return [
        str(trial.number),
        _settings(trial),
        f"{metrics['size_bytes']:,.0f}",
        f"{metrics['ratio']:.2f}",
        f"{1000 * metrics['compress_s']:.1f} ms",
        f"{1000 * metrics['decompress_s']:.1f} ms",
    ]


def _sentence(trial: TrialAnswer) -> str:
    _, settings, size, ratio, compress, _ = _row(trial)
    return f"{settings}: {size} bytes, {ratio} times smaller, in {compress}"


def _settings(trial: TrialAnswer) -> str:
    codec = trial.params["codec"]
    own = [str(value) for name, value in trial.params.items() if name.startswith(f"{codec}_")]
    return f"{codec} {' '.join(own)}, {trial.params['block_kib']} KiB"


def _size(trial: TrialAnswer) -> float:
    return trial.outcomes["size_bytes"] or math.inf


def _time(trial: TrialAnswer) -> float:
    return trial.outcomes["compress_s"] or 0.0
