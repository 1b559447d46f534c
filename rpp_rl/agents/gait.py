"""Is a gait symmetric? Angles of limbs that the group exchanges, and how far a motion is from its own mirror image."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float
from numpy import ndarray

from rpp_rl.envs.layout import Block
from rpp_rl.envs.spec import EnvSpec
from rpp_rl.symmetry import relative_error

STILL = 0.01
"""Angles in radians within which a robot stands still, in a posture that is its own image."""


@dataclass(frozen=True)
class Limbs:
    """Angles that the group exchanges: counted in the same sense, they follow one curve if the gait is symmetric.

    Attributes:
        name: The block of the observation, with the number of the angle in it if there are several.
        coordinates: Where they are in the coordinates of `rpp_rl.envs.to_rep`.
        signs: The sense in which each is counted, shape ``(n_limbs,)``; an angle that the group only reverses appears
            twice, once in each sense.
        labels: What each is in the environment's observation, as ``-obs[5]``.
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
    for block, where in _angle_blocks(spec):
        orbits = _orbits(block)
        for k, orbit in enumerate(orbits, start=1):
            name = block.name if len(orbits) == 1 else f"{block.name}, {k} of {len(orbits)}"
            coordinates, signs = zip(*orbit, strict=True)
            labels = tuple(f"{'−' if sign < 0 else ''}{_source(block, i)}" for i, sign in orbit)
            found.append(Limbs(name, tuple(where.start + i for i in coordinates), signs, labels))
    return found


def asymmetries(spec: EnvSpec, x: Float[ndarray, "time rep"]) -> list[Asymmetry]:
    """How far a motion is from its image under each discrete generator, by all its angles together.

    Args:
        spec: The symmetry.
        x: The motion in the coordinates of `rpp_rl.envs.to_rep`; delays up to a half of it are tried.
    """
    where = [index for block, part in _angle_blocks(spec) if _orbits(block) for index in range(part.start, part.stop)]
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


def _angle_blocks(spec: EnvSpec) -> Iterator[tuple[Block, slice]]:
    """Blocks of angles on which the group acts by permutations and signs; their names carry the unit."""
    for block, where in zip(spec.observation.blocks, spec.observation.slices, strict=True):
        is_angle = "[rad]" in block.name and block.transform != "rotation_matrix"
        if is_angle and block.rep.is_signed_permutation and not block.rep.lie_algebra.any():
            yield block, where


def _source(block: Block, index: int) -> str:
    return f"obs[{block.indices[index]}]" if block.transform == "identity" else f"coordinate {index}"


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
