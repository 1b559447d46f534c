"""What decides contacts beyond the shapes: exclusions, pairs of geoms, the solver; and what is not compared."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from jaxtyping import Float
from numpy import ndarray

from rpp_rl.derive.actuators import uncompared_actuators
from rpp_rl.derive.equalities import n_uncompared
from rpp_rl.derive.geoms import TYPE_NAMES, UNKNOWN_SHAPES, is_flat
from rpp_rl.derive.matching import Match
from rpp_rl.derive.robot import HFIELD, Robot
from rpp_rl.derive.violations import Violation, differing

PAIR_FIELDS = ("dim", "friction", "gap", "margin", "solimp", "solref", "solreffriction", "adhesion")
PYRAMIDAL, PGS = 0, 0
"""MuJoCo's mjtCone and mjtSolver."""


def contact_violations(robot: Robot, match: Match) -> Iterator[Violation]:
    """Excluded pairs of bodies and special pairs of geoms have to go to such pairs."""
    model, bodies, geoms = robot.model, dict(match.bodies), dict(match.geoms)
    signatures = [int(signature) for signature in model.exclude_signature]
    excluded = {frozenset((signature >> 16, signature & 0xFFFF)) for signature in signatures}
    for pair in excluded:
        image = frozenset(bodies[b] for b in pair)
        if image not in excluded:
            names, others = (" and ".join(sorted(robot.name("body", b) for b in p)) for p in (pair, image))
            yield Violation(names, others, "exclude", f"contacts of {names} are excluded, of {others} not", 1.0)
    pairs = {
        frozenset((int(a), int(b))): k for k, (a, b) in enumerate(zip(model.pair_geom1, model.pair_geom2, strict=True))
    }
    for pair, k in pairs.items():
        image = frozenset(geoms.get(i, -1) for i in pair)
        names = " and ".join(sorted(robot.name("geom", i) for i in pair))
        if image not in pairs:
            yield Violation(names, names, "pair", f"the contact pair of {names} has no counterpart", 1.0)
            continue
        others = " and ".join(sorted(robot.name("geom", i) for i in image))
        for field in PAIR_FIELDS:
            array = getattr(model, f"pair_{field}", None)
            if array is not None:
                yield from differing(names, others, field, array[k], array[pairs[image]])


def uncompared(robot: Robot) -> list[str]:
    """Everything in the model that the comparison cannot judge, in words."""
    return [*_uncompared_parts(robot), *uncompared_actuators(robot), *_uncompared_shapes(robot)]


def solver_warnings(robot: Robot) -> list[str]:
    """What in the simulator itself breaks symmetries."""
    methods = {"solver PGS": robot.model.opt.solver == PGS, "noslip iterations": robot.model.opt.noslip_iterations > 0}
    return [
        f"{name}: contact forces depend a little on the order of the contacts" for name, used in methods.items() if used
    ]


def cone_violations(robot: Robot, g: Float[ndarray, "3 3"]) -> Iterator[Violation]:
    """A pyramid of friction, whose edges lie along the axes of the world, only bears quarter turns."""
    felt = [geom for geoms in robot.felt_geoms for geom in geoms]
    has_friction = bool((robot.model.geom_condim[felt] > 1).any() or (robot.model.pair_dim > 1).any())
    is_quarter_turn = bool(np.isin(np.abs(g).round(9), (0.0, 1.0)).all())
    if robot.model.opt.cone == PYRAMIDAL and has_friction and not is_quarter_turn:
        text = "the friction cone is pyramidal: it is only symmetric under quarter turns of the world"
        yield Violation("cone", "cone", "cone", text, 0.1)


def _uncompared_parts(robot: Robot) -> Iterator[str]:
    model = robot.model
    counts = {
        "equality constraints": n_uncompared(robot),
        "flexes": model.nflex,
        "plugins": model.nplugin,
        "mocap bodies": model.nmocap,
    }
    for what, count in counts.items():
        if count:
            yield f"{count} {what} are not compared"
    free = [robot.joints(b)[0] for b in robot.free_roots]
    if model.jnt_stiffness[free].any():
        yield "springs of a free joint, which hold it to a place in the world, are not compared"
    if getattr(model, "geom_surfacevel", np.zeros(1)).any():
        yield "moving surfaces of geoms are not compared"


def _uncompared_shapes(robot: Robot) -> Iterator[str]:
    felt = {geom for geoms in robot.felt_geoms for geom in geoms}
    for kind in UNKNOWN_SHAPES:
        shaped = [i for i in sorted(felt) if robot.model.geom_type[i] == kind]
        names = [robot.name("geom", i) for i in shaped if kind != HFIELD or not is_flat(robot, i)]
        if names:
            yield f"the shape of {', '.join(names)} ({TYPE_NAMES[kind]}) is not compared, only its place"
