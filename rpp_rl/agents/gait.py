"""Is a gait symmetric? Angles of limbs that the group exchanges, and how far a motion is from its own mirror image."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float
from numpy import ndarray

from rpp_rl.envs.layout import Block
from rpp_rl.envs.spec import EnvSpec
from rpp_rl.symmetry import relative_error

STILL = 0.01
"""Angles in radians within which a robot stands still, in a posture that is its own image."""

MAX_NAME = 40
"""Letters of a title above half a page."""


@dataclass(frozen=True)
class Limbs:
    """Angles that the group exchanges: counted in the same sense, they follow one curve if the gait is symmetric.

    Attributes:
        name: What they are, with the unit: ``"thigh angle [rad]"``.
        coordinates: Where they are in the coordinates of `rpp_rl.envs.to_rep`.
        signs: The sense in which each is counted, shape ``(n_limbs,)``; an angle that the group only reverses appears
            twice, once in each sense.
        labels: What each is called: ``"−right thigh"``, or ``"−obs[5]"`` where the specification has no labels.
    """

    name: str
    coordinates: tuple[int, ...]
    signs: tuple[float, ...]
    labels: tuple[str, ...]


@dataclass(frozen=True)
class Asymmetry:
    """How far a motion x(t) is from its image under a generator g at the best delay.

    Attributes:
        generator: Name of g.
        error: Relative error between x(t + delay) and g x(t); 0 is the same, 0.7 unrelated, 1 the opposite.
        delay: The delay in steps.
    """

    generator: str
    error: float
    delay: int


def limbs(spec: EnvSpec) -> list[Limbs]:
    """All sets of angles that the group exchanges or reverses."""
    found = []
    for block, where in _permuted_blocks(spec):
        orbits = _orbits_of_angles(block)
        for orbit in orbits:
            coordinates, signs = zip(*orbit, strict=True)
            name = _name(block, coordinates, is_alone=len(orbits) == 1)
            labels = tuple(f"{'−' if sign < 0 else ''}{_label(block, i)}" for i, sign in orbit)
            found.append(Limbs(name, tuple(where.start + i for i in coordinates), signs, labels))
    return found


def asymmetries(spec: EnvSpec, x: Float[ndarray, "time rep"]) -> list[Asymmetry]:
    """How far a motion is from its image under each discrete generator, by all its angles together.

    Args:
        spec: The symmetry.
        x: The motion in the coordinates of `rpp_rl.envs.to_rep`; delays up to a half of it are tried.
    """
    where = sorted({index for group in limbs(spec) for index in group.coordinates})
    if not where or len(x) < 4:
        return []
    found = []
    for record, g in zip(spec.generators, spec.obs_rep.generators, strict=False):
        motion, image = x[:, where], (x @ g.T)[:, where]
        # A posture that both have in common is no part of the motion; one that differs is.
        posture = (motion.mean(0) + image.mean(0)) / 2
        motion, image = motion - posture, image - posture
        if max(np.abs(motion).max(), np.abs(image).max()) < STILL:
            found.append(Asymmetry(record.name, 0.0, 0))
            continue
        errors = [relative_error(motion[delay:], image[: len(image) - delay]) for delay in range(len(x) // 2)]
        best = int(np.argmin(errors))
        found.append(Asymmetry(record.name, errors[best], best))
    return found


def _permuted_blocks(spec: EnvSpec) -> Iterator[tuple[Block, slice]]:
    """Blocks with angles on which the group acts by permutations and signs."""
    for block, where in zip(spec.observation.blocks, spec.observation.slices, strict=True):
        if "angle" in block.kinds and block.rep.is_signed_permutation:
            yield block, where


def _orbits_of_angles(block: Block) -> list[list[tuple[int, float]]]:
    return [orbit for orbit in _orbits(block) if all(block.kinds[i] == "angle" for i, _ in orbit)]


def _name(block: Block, coordinates: Sequence[int], *, is_alone: bool) -> str:
    """The block's, if it has one set and a short name; otherwise the words that the labels share."""
    if is_alone and len(set(block.kinds)) == 1 and len(block.title) <= MAX_NAME:
        return block.title
    labels = [_label(block, i).replace("_", " ").split() for i in coordinates]
    shared = [word for word in labels[0] if all(word in words for words in labels)]
    unit = block.units[coordinates[0]]
    return " ".join([*shared, "angle", *([f"[{unit}]"] if unit else [])])


def _label(block: Block, i: int) -> str:
    if block.labels:
        return block.labels[i]
    return f"obs[{block.indices[i]}]" if block.transform == "identity" else f"coordinate {i}"


def _orbits(block: Block) -> list[list[tuple[int, float]]]:
    """Orbits of coordinates, each member with the sign of the first way to it; those of a single value are left out."""
    orbits, seen = [], set()
    for first in range(block.rep.size):
        if first in seen:
            continue
        reached = [(first, 1.0)]
        # Generator after generator: the limbs that the first one exchanges are all counted in its sense.
        for n in range(len(block.rep.generators)):
            for index, sign in reached:
                for g in block.rep.generators[: n + 1]:
                    image = int(np.abs(g[:, index]).argmax())
                    member = (image, sign * float(np.sign(g[image, index])))
                    if member not in reached:
                        reached.append(member)
        signs = dict(reversed(reached))
        seen.update(signs)
        if len(reached) > 1:
            members = sorted(signs.items()) if len(signs) > 1 else reached
            orbits.append(members)
    return orbits
