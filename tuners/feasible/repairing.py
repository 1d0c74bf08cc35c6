"""The way back from a point that breaks constraints: to the nearest one found that keeps them."""

from __future__ import annotations

from collections.abc import Sequence

from tuners.feasible.finding import SCALES, Hunt, climbed
from tuners.feasible.region import Constraints, Genome, Region, Rng, completed, concerned
from tunesmith.domain import Point, Scalar, Space, same_scalar


def repair(
    space: Space, constraints: Constraints, point: Point, anchors: Sequence[Point], rng: Rng
) -> dict[str, Scalar]:
    """The nearest feasible point found to a proposal, in one or two milliseconds; the proposal itself if it is one.

    Nearest in the unit cube of the parameters' scales, where different categories are 1 apart. Candidates are
    perturbations at growing scales, Newton steps towards the constraints, the segments to the nearest feasible anchors,
    and random draws; the best ones are then moved back towards the proposal, as far as the constraints allow.

    Raises:
        ValueError: nothing feasible was found, and no anchor is feasible.
    """
    region = Region(concerned(space, constraints), constraints, rng)
    proposal = region.genome(point)
    if not region.holds(proposal):
        candidates = sorted(_candidates(region, proposal, anchors), key=lambda found: region.distance(found, proposal))
        if not candidates:
            last = Hunt(region, 2000)
            found = last.run(climbed(last))
            if found is None:
                raise ValueError("no feasible point was found near the proposal; give a feasible one as an anchor")
            candidates = [found]
        polished = [_returned(region, _bisected(region, found, proposal), proposal) for found in candidates[:3]]
        proposal = min(polished, key=lambda found: region.distance(found, proposal))
    return completed(space, proposal, point, rng)


def _candidates(region: Region, proposal: Genome, anchors: Sequence[Point]) -> list[Genome]:
    """Feasible genomes around the proposal, and between it and feasible anchors."""
    found: list[Genome] = []
    for scale in reversed(SCALES[:8]):
        found += [other for _ in range(6) if region.holds(other := region.shaken(proposal, scale))]
        if len(found) >= 3:
            break
    found += _projected(region, proposal)
    for index in region.rng.permutation(len(region.axes))[:10]:
        found += [other for other in region.suggested(proposal, region.axes[index]) if region.holds(other)]
    found += [other for _ in range(10) if region.holds(other := region.drawn())]
    for anchor in _nearest(region, proposal, anchors):
        found.append(_bisected(region, anchor, proposal))
        mixed = proposal | {axis.name: anchor[axis.name] for axis in region.numeric}
        if len(region.numeric) < len(region.axes) and region.holds(mixed):
            found.append(_bisected(region, mixed, proposal))
    return found


def _projected(region: Region, genome: Genome) -> list[Genome]:
    """Where Newton steps from the genome meet the constraints, if they do; the last bit by a change of one number."""
    gap = region.gap(region.violations(genome))
    for _ in range(5):
        others = enumerate(region.newton(genome))
        sizes = [(region.gap(region.violations(other)), index, other) for index, other in others]
        reached = [other for size, _index, other in sizes if not size]
        if reached:
            return reached
        if not sizes or min(sizes)[0] >= gap:
            break
        gap, _index, genome = min(sizes)
    return [other for axis in region.numeric[:10] for other in region.suggested(genome, axis) if region.holds(other)]


def _nearest(region: Region, proposal: Genome, anchors: Sequence[Point], count: int = 4) -> list[Genome]:
    """The nearest feasible anchors; all anchors are looked at only where the last hundred are not feasible."""
    for some in (anchors[-100:], anchors[:-100]):
        genomes = [region.genome({**proposal, **anchor}) for anchor in some]
        genomes.sort(key=lambda genome: region.distance(genome, proposal))
        found = [genome for genome in genomes if region.holds(genome)][:count]
        if found:
            return found
    return []


def _bisected(region: Region, start: Genome, end: Genome) -> Genome:
    """The last feasible genome on the way from a feasible start to the end, categories kept."""
    ends = {axis.name: (axis.share(start[axis.name]), axis.share(end[axis.name])) for axis in region.numeric}
    axes = [axis for axis in region.numeric if start[axis.name] != end[axis.name]]
    best, near, far = start, 0.0, 1.0
    for _ in range(12):
        middle = (near + far) / 2
        genome = dict(start)
        for axis in axes:
            a, b = ends[axis.name]
            genome[axis.name] = axis.value(a + middle * (b - a))
        if region.holds(genome):
            best, near = genome, middle
        else:
            far = middle
    return best


def _returned(region: Region, genome: Genome, proposal: Genome) -> Genome:
    """The genome with every value of the proposal that it can take one by one."""
    for axis in region.axes:
        if not same_scalar(genome[axis.name], proposal[axis.name]):
            other = genome | {axis.name: proposal[axis.name]}
            if region.holds(other) and region.distance(other, proposal) <= region.distance(genome, proposal):
                genome = other
    return genome
