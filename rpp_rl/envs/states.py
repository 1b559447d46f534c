"""States in which to try a symmetry: those met on the way, and those that nothing meets but that touch everything."""

from __future__ import annotations

from collections.abc import Callable

import mujoco
import numpy as np
from jaxtyping import Float
from numpy import ndarray

from rpp_rl.envs.simulator import Simulator, States, silent

Policy = Callable[[ndarray], ndarray]
"""From an observation to an action."""

EPISODE_LENGTH = 100
"""Steps after which the search for states begins anew."""
POSITION_NOISE, VELOCITY_NOISE = 0.05, 1.0
"""Standard deviations [m, rad and m/s, rad/s] of what is added to some states: random actions alone rarely slide."""
PERTURBED_SHARE = 2
"""One in this many states is perturbed."""
SETTLING, MAX_SETTLING = (0.05, 1.0), 1000
"""Seconds for which a pose is left to physics, and how many steps of the simulator at most."""
FALL = 0.05
"""Height [m] above its own at reset from which a pose is dropped."""
SLIDING, TURNING = 0.3, np.pi
"""Largest position [m] and angle [rad] of a joint without a range in a tangled pose."""
FREE, BALL, SLIDE = 0, 1, 2
"""Types of joints, MuJoCo's mjtJoint."""


def met_states(
    simulator: Simulator, n: int, rng: np.random.Generator, *, policy: Policy | None = None, perturbed: bool = True
) -> States:
    """States met on trajectories that begin at resets.

    Args:
        simulator: The environment.
        n: How many.
        rng: Where random numbers come from.
        policy: Acts; random actions when not given.
        perturbed: Whether every second state gets some noise.
    """
    found: list[States] = []
    steps = 0
    with silent():
        obs, _ = simulator.outer.reset(seed=int(rng.integers(2**31)))
        for _ in range(n):
            for _ in range(rng.integers(1, 20)):
                action = simulator.random_actions(1, rng)[0] if policy is None else policy(np.asarray(obs))
                obs, _, terminated, _, _ = simulator.outer.step(action)
                steps += 1
                if terminated or steps == EPISODE_LENGTH or not simulator.is_stable():
                    obs, _ = simulator.outer.reset(seed=int(rng.integers(2**31)))
                    steps = 0
            found.append(simulator.current())
    states = _joined(found)
    if perturbed:
        fixed, nq = simulator.n_skipped if simulator.shows_state else 0, simulator.env.model.nq
        half = states.physics[::PERTURBED_SHARE, fixed:]
        noise = np.where(np.arange(fixed, states.physics.shape[1]) < nq, POSITION_NOISE, VELOCITY_NOISE)
        half += noise * rng.normal(size=half.shape)
        _normalise(simulator, states)
    return states


def wild_states(simulator: Simulator, n: int, rng: np.random.Generator) -> States:
    """One third of them poses that physics has settled, near keyframes if there are any, the others tangled.

    A tangled robot has any orientation and any angles of its joints, and may reach into the ground: what a walking one
    never touches touches something, and what ends an episode occurs.
    """
    found = [_settled(simulator, i, rng) if i % 3 == 0 else _tangled(simulator, rng) for i in range(n)]
    states = _joined(found)
    _normalise(simulator, states)
    return states


def touching(simulator: Simulator, states: States) -> int:
    """In how many states something touches something."""
    count = 0
    for i in range(len(states)):
        simulator.put_into(states, i)
        count += int(simulator.env.data.ncon > 0)
    return count


def _settled(simulator: Simulator, i: int, rng: np.random.Generator) -> States:
    env, model = simulator.env, simulator.env.model
    simulator.outer.reset(seed=int(rng.integers(2**31)))
    start = simulator.current()
    nq = model.nq
    qpos = model.key_qpos[i // 3 % model.nkey].copy() if model.nkey else start.physics[0, :nq].copy()
    for j in range(model.njnt):
        at, kind = int(model.jnt_qposadr[j]), int(model.jnt_type[j])
        if kind == FREE:
            qpos[at + 2] += FALL * rng.uniform()
            qpos[at + 3 : at + 7] = _product(_about_z(rng.uniform(-np.pi, np.pi)), qpos[at + 3 : at + 7])
        elif kind != BALL and model.jnt_limited[j]:
            low, high = model.jnt_range[j]
            qpos[at] = np.clip(qpos[at] + 0.15 * (high - low) * rng.normal(), low, high)
    start.physics[0, :nq] = qpos
    simulator.put_into(start, 0)
    if model.nu:
        env.data.ctrl[:] = model.key_ctrl[i // 3 % model.nkey] if model.nkey else 0.0
    n_steps = min(int(rng.uniform(*SETTLING) / model.opt.timestep), MAX_SETTLING)
    with silent():
        mujoco.mj_step(model, env.data, nstep=n_steps)  # pyright: ignore[reportAttributeAccessIssue]
    return States(simulator.current().physics, start.task) if simulator.is_stable() else start


def _tangled(simulator: Simulator, rng: np.random.Generator) -> States:
    model = simulator.env.model
    simulator.outer.reset(seed=int(rng.integers(2**31)))
    state = simulator.current()
    qpos, qvel = state.physics[0, : model.nq], state.physics[0, model.nq :]
    for j in range(model.njnt):
        at, kind = int(model.jnt_qposadr[j]), int(model.jnt_type[j])
        if kind == FREE:
            qpos[at + 2] *= rng.uniform()
            at += 3
        if kind in (FREE, BALL):
            qpos[at : at + 4] = rng.normal(size=4)
        elif model.jnt_limited[j]:
            low, high = model.jnt_range[j]
            qpos[at] = rng.uniform(low - 0.02 * (high - low), high + 0.02 * (high - low))
        else:
            qpos[at] = rng.uniform(-1.0, 1.0) * (SLIDING if kind == SLIDE else TURNING) + qpos[at]
    qvel[:] = rng.normal(size=model.nv)
    if simulator.shows_state:
        qpos[: simulator.n_skipped] = simulator.env.init_qpos[: simulator.n_skipped]
    return state


def _normalise(simulator: Simulator, states: States) -> None:
    """Make quaternions of unit length: MuJoCo does so itself, and a state has to begin as its image does."""
    model = simulator.env.model
    for j in range(model.njnt):
        kind, at = int(model.jnt_type[j]), int(model.jnt_qposadr[j])
        if kind in (FREE, BALL):
            at += 3 if kind == FREE else 0
            q = states.physics[:, at : at + 4]
            q /= np.maximum(np.linalg.norm(q, axis=1, keepdims=True), 1e-12)


def _joined(found: list[States]) -> States:
    names = found[0].task if found else {}
    physics = np.concatenate([state.physics for state in found])
    return States(physics, {name: np.concatenate([state.task[name] for state in found]) for name in names})


def _about_z(angle: float) -> Float[ndarray, " 4"]:
    return np.array([np.cos(angle / 2), 0.0, 0.0, np.sin(angle / 2)])


def _product(p: Float[ndarray, " 4"], q: Float[ndarray, " 4"]) -> Float[ndarray, " 4"]:
    """Of two quaternions."""
    result = np.zeros(4)
    mujoco.mju_mulQuat(result, p, q)  # pyright: ignore[reportAttributeAccessIssue]
    return result
