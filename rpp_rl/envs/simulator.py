"""A MuJoCo environment whose state can be set, that of the simulator and that of the task, and rollouts from it.

Any environment on gymnasium's MujocoEnv can be put into a state of positions and velocities. One that remembers more
than these, a velocity command or the last action say, tells it by three names (see `TaskState`):

>>> class Walking(MujocoEnv):  # doctest: +SKIP
...     task_quantities = {"command": "command_velocity", "last_action": "last_action"}
...
...     def get_task_state(self):
...         return {"command": self.command.copy(), "last_action": self.last_action.copy()}
...
...     def set_task_state(self, state):
...         self.command, self.last_action = state["command"].copy(), state["last_action"].copy()
"""

from __future__ import annotations

import sys
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from functools import cached_property
from typing import Any, NamedTuple, Protocol, runtime_checkable

import gymnasium
import mujoco
import numpy as np
from gymnasium.envs.mujoco import MujocoEnv
from gymnasium.wrappers import OrderEnforcing, PassiveEnvChecker, RecordEpisodeStatistics, TimeLimit
from jaxtyping import Bool, Float
from numpy import ndarray

import rpp_rl.tasks  # noqa: F401 (makes the package's own environments known)

# MuJoCo's functions come from a compiled module that describes no types.
DISABLE_CONSTRAINTS = int(mujoco.mjtDisableBit.mjDSBL_CONSTRAINT)  # pyright: ignore[reportAttributeAccessIssue]
UNSTABLE = tuple(
    int(getattr(mujoco.mjtWarning, f"mjWARN_{what}"))  # pyright: ignore[reportAttributeAccessIssue]
    for what in ("BADQPOS", "BADQVEL", "BADQACC", "BADCTRL")
)
"""Warnings with which MuJoCo says that a simulation has blown up; it then starts again from the reference pose."""
TRANSPARENT = (PassiveEnvChecker, OrderEnforcing, TimeLimit, RecordEpisodeStatistics)
"""Wrappers that change neither observations, actions nor rewards, and are passed by."""
MAX_SKIPPED = 3
"""Leading positions that an observation may leave out."""
JOINT_TRANSMISSION = 0
"""MuJoCo's mjtTrn of an actuator on a joint."""
SEED = 20
"""Of the reset before every chosen state: whatever is drawn at random afterwards is the same for a state and its
image."""


@runtime_checkable
class TaskState(Protocol):
    """What an environment offers that remembers more than positions and velocities.

    Attributes:
        task_quantities: For each remembered quantity the kind by which it transforms, a name of the vocabulary of
            `rpp_rl.envs.quantities`: ``{"command": "command_velocity"}``.
    """

    task_quantities: Mapping[str, str]

    def get_task_state(self) -> Mapping[str, ndarray]:
        """The remembered quantities by name."""
        ...

    def set_task_state(self, state: Mapping[str, ndarray]) -> None:
        """Remember these instead."""
        ...


class States(NamedTuple):
    """Several states of an environment.

    Attributes:
        physics: Positions and velocities.
        task: What the task remembers, by name; empty for an environment that does not tell.
    """

    physics: Float[ndarray, "n nq_nv"]
    task: dict[str, Float[ndarray, "n k"]]

    def __len__(self) -> int:
        """Number of states, not of fields."""
        return len(self.physics)

    def take(self, which: slice | ndarray) -> States:
        """Some of them."""
        return States(self.physics[which], {name: values[which] for name, values in self.task.items()})


class Rollout(NamedTuple):
    """What happened from ``n`` states during ``T`` steps.

    Attributes:
        physics: Positions and velocities.
        obs: Observations; where they begin with positions and velocities, these are complete and not clipped. At the
            start, where the environment shows nothing, the other numbers are zero.
        rewards: The environment's rewards.
        terminated: Whether the environment called the new state terminal.
        stable: Whether the simulation never blew up on the way; where it did, the numbers mean nothing.
    """

    physics: Float[ndarray, "T+1 n nq_nv"]
    obs: Float[ndarray, "T+1 n size"]
    rewards: Float[ndarray, "T n"]
    terminated: Bool[ndarray, "T n"]
    stable: Bool[ndarray, " n"]

    def kept(self, which: Bool[ndarray, " n"]) -> Rollout:
        """Of some of the states."""
        return Rollout(
            self.physics[:, which],
            self.obs[:, which],
            self.rewards[:, which],
            self.terminated[:, which],
            self.stable[which],
        )

    def first(self, n: int) -> Rollout:
        """The first step from the first states."""
        return Rollout(
            self.physics[:2, :n], self.obs[:2, :n], self.rewards[:1, :n], self.terminated[:1, :n], self.stable[:n]
        )


def both_stable(rollout: Rollout, image: Rollout) -> tuple[Rollout, Rollout]:
    """Two rollouts without the states from which one of them blew up."""
    which = rollout.stable & image.stable
    return rollout.kept(which), image.kept(which)


class Simulator:
    """An environment on gymnasium's MujocoEnv, wrapped or not, that can be put into a chosen state.

    Attributes:
        env: The environment without its wrappers.
        outer: The environment as it is used.
        shows_state: Whether observations begin with positions, some leading ones left out, and velocities. The left
            out ones, the place in the world, are then the same in all states.
        n_skipped: Number of leading positions left out.
        n_state: Length of the beginning of observations that shows the state; 0 if it does not.
        size: Length of observations.

    Args:
        env: An environment, or the id of one.

    Raises:
        ValueError: If it is no MuJoCo environment, or its observation or action is no vector.
    """

    def __init__(self, env: gymnasium.Env[Any, Any] | str) -> None:
        self.outer = _stripped(make(env) if isinstance(env, str) else env)
        base = self.outer.unwrapped
        if not isinstance(base, MujocoEnv):
            raise ValueError(f"expected an environment on gymnasium's MujocoEnv, got {type(base).__name__}")
        self.env = base
        self.name = type(base).__name__
        for kind, space in (("observations", self.outer.observation_space), ("actions", self.outer.action_space)):
            if not isinstance(space, gymnasium.spaces.Box) or len(space.shape) != 1:
                raise ValueError(
                    f"{self.name}: expected {kind} in a Box of one dimension, got {space}; "
                    "gymnasium.wrappers.FlattenObservation makes one of a dictionary"
                )
        task = self.env if isinstance(self.env, TaskState) else self.outer
        self.task = task if isinstance(task, TaskState) else None
        obs, _ = self.outer.reset(seed=0)
        self.size = len(obs)
        self.shows_state, self.n_skipped, self.n_state = self._shown_state(np.asarray(obs))
        self.n_positions = base.model.nq - self.n_skipped

    def _shown_state(self, obs: ndarray) -> tuple[bool, int, int]:
        data = self.env.data
        for skip in range(min(MAX_SKIPPED + 1, self.env.model.nq)):
            state = np.concatenate([data.qpos[skip:], data.qvel])
            if len(state) <= len(obs) and np.array_equal(obs[: len(state)], state.astype(obs.dtype)):
                return True, skip, len(state)
        return False, 0, 0

    def require_shown_state(self) -> None:
        """Refuse an environment whose observation does not begin with its state.

        Raises:
            ValueError: If it does not.
        """
        if not self.shows_state:
            raise ValueError(
                f"{self.name}: expected observations that begin with qpos and qvel; for others name what their numbers "
                "are in a layout file, derive-spec --observation FILE"
            )

    @property
    def action_bounds(self) -> tuple[Float[ndarray, " n"], Float[ndarray, " n"]]:
        """The bounds of the actions, ±1 where there are none."""
        space = self.outer.action_space
        low, high = (np.asarray(getattr(space, end), dtype=float) for end in ("low", "high"))
        return np.where(np.isfinite(low), low, -1.0), np.where(np.isfinite(high), high, 1.0)

    def random_actions(self, n: int, rng: np.random.Generator) -> Float[ndarray, "n action"]:
        """Actions drawn uniformly from the environment's action space."""
        low, high = self.action_bounds
        return rng.uniform(low, high, size=(n, len(low)))

    def current(self) -> States:
        """The state in which the environment is."""
        physics = np.concatenate([self.env.data.qpos, self.env.data.qvel])
        if self.shows_state:
            physics[: self.n_skipped] = self.env.init_qpos[: self.n_skipped]
        task = {} if self.task is None else self.task.get_task_state()
        return States(physics[None], {name: np.array(value, dtype=float)[None] for name, value in task.items()})

    def put_into(self, states: States, i: int) -> None:
        """Begin in a state without memory: no controls, and no warm start of the constraint solver from another."""
        self.outer.reset(seed=SEED)
        mujoco.mj_resetData(self.env.model, self.env.data)  # pyright: ignore[reportAttributeAccessIssue]
        nq = self.env.model.nq
        self.env.set_state(states.physics[i, :nq], states.physics[i, nq:])
        self.env.data.qacc_warmstart[:] = 0.0
        if self.task is not None:
            self.task.set_task_state({name: values[i].copy() for name, values in states.task.items()})

    def is_stable(self) -> bool:
        """Whether the simulation has not blown up since the last chosen state."""
        blown_up = any(self.env.data.warning[k].number for k in UNSTABLE)
        return not blown_up and bool(np.isfinite(self.env.data.qpos).all() and np.isfinite(self.env.data.qvel).all())

    def rollout(self, start: States, actions: Float[ndarray, "T n action"]) -> Rollout:
        """Step the environment from each of the states, with its own rewards and terminations.

        Args:
            start: The states.
            actions: The actions, for every step and state.
        """
        n_steps, n = actions.shape[:2]
        physics = np.zeros((n_steps + 1, n, start.physics.shape[1]))
        obs = np.zeros((n_steps + 1, n, self.size))
        rewards, terminated = np.zeros((n_steps, n)), np.zeros((n_steps, n), dtype=bool)
        stable = np.ones(n, dtype=bool)
        physics[0] = start.physics
        with silent():
            for i in range(n):
                self.put_into(start, i)
                for t in range(n_steps):
                    obs[t + 1, i], rewards[t, i], terminated[t, i], _, _ = self.outer.step(actions[t, i])
                    physics[t + 1, i] = np.concatenate([self.env.data.qpos, self.env.data.qvel])
                    if terminated[t, i] and self.outer is not self.env:
                        # Wrappers may refuse to go on; the episode stays where it ended.
                        obs[t + 2 :, i], physics[t + 2 :, i] = obs[t + 1, i], physics[t + 1, i]
                        break
                stable[i] = self.is_stable() and bool(np.isfinite(obs[:, i]).all())
        obs[0 if self.shows_state else 1 :, :, : self.n_state] = physics[
            0 if self.shows_state else 1 :, :, self.n_skipped : self.n_skipped + self.n_state
        ]
        return Rollout(physics, obs, rewards, terminated, stable)

    @cached_property
    def zeros(self) -> frozenset[int]:
        """Numbers of the observation that MuJoCo never makes anything but zero.

        Inertia, velocity and contact force of the world; forces of actuators where there are none. Found by writing
        into the arrays and looking where it shows; nothing is known of environments without gymnasium's ``_get_obs``,
        or wrapped ones.
        """
        look = getattr(self.env, "_get_obs", None)
        if look is None or self.outer is not self.env:
            return frozenset()
        self.outer.reset(seed=SEED)
        shown = []
        for value in (0.0, 0.5):
            for array, rows in self._zero_rows():
                array[rows] = value
            shown.append(np.array(look()))
        self.outer.reset(seed=SEED)
        return frozenset(np.flatnonzero(shown[0] != shown[1]).tolist())

    def _zero_rows(self) -> Iterator[tuple[ndarray, ndarray]]:
        model, data = self.env.model, self.env.data
        world = np.arange(model.nbody) == 0
        for array in (data.cfrc_ext, data.cinert, data.cvel):
            yield array, world
        if (model.actuator_trntype == JOINT_TRANSMISSION).all():
            driven = np.isin(model.dof_jntid, model.actuator_trnid[:, 0])
            yield data.qfrc_actuator, ~(driven | (model.jnt_actgravcomp[model.dof_jntid] != 0))

    @contextmanager
    def in_brief_steps(self) -> Iterator[None]:
        """Let a step be one time step of the simulator, for environments that heed MujocoEnv's ``frame_skip``."""
        before = self.env.frame_skip
        self.env.frame_skip = 1
        try:
            yield
        finally:
            self.env.frame_skip = before

    @cached_property
    def fixed_bodies(self) -> tuple[int, ...]:
        """Bodies without joints on ones that move: their geoms often hide behind others that take all forces."""
        welded = self.env.model.body_weldid
        return tuple(np.flatnonzero((welded != np.arange(len(welded))) & (welded != 0)).tolist())

    @contextmanager
    def touching_only(self, bodies: Sequence[int]) -> Iterator[None]:
        """Let only some of the robot's bodies touch anything, so that contact forces on these show."""
        model = self.env.model
        off = ~np.isin(model.geom_bodyid, bodies) & (model.body_weldid[model.geom_bodyid] != 0)
        before = model.geom_contype.copy(), model.geom_conaffinity.copy()
        model.geom_contype[off] = model.geom_conaffinity[off] = 0
        try:
            yield
        finally:
            model.geom_contype[:], model.geom_conaffinity[:] = before

    @contextmanager
    def without_constraints(self) -> Iterator[None]:
        """Switch off contacts, joint limits and dry friction: what remains is the smooth motion of the free robot."""
        before = self.env.model.opt.disableflags
        self.env.model.opt.disableflags |= DISABLE_CONSTRAINTS
        try:
            yield
        finally:
            self.env.model.opt.disableflags = before


def is_settable(env: gymnasium.Env[Any, Any]) -> bool:
    """Whether an environment can be put into a chosen state."""
    return isinstance(env.unwrapped, MujocoEnv)


def silent() -> AbstractContextManager[None]:
    """Keep MuJoCo from printing that a simulation blew up: such states are counted instead."""
    return _warning(_ignored)


@contextmanager
def _warning(handler: Callable[[str], None]) -> Iterator[None]:
    """Give MuJoCo's warnings to a function; by itself it prints them and writes a file in the current folder."""
    before: Any = mujoco.get_mju_user_warning()  # pyright: ignore[reportAttributeAccessIssue]
    mujoco.set_mju_user_warning(handler)  # pyright: ignore[reportAttributeAccessIssue]
    try:
        yield
    finally:
        mujoco.set_mju_user_warning(before)  # pyright: ignore[reportAttributeAccessIssue]


def _ignored(_: str) -> None:
    """A warning that is counted elsewhere."""


def _stripped(env: gymnasium.Env[Any, Any]) -> gymnasium.Env[Any, Any]:
    """Without the outer wrappers that change nothing."""
    while isinstance(env, gymnasium.Wrapper) and (isinstance(env, TRANSPARENT) or _is_monitor(env)):
        env = env.env
    return env


def _is_monitor(env: gymnasium.Env[Any, Any]) -> bool:
    """Whether this is Stable-Baselines3's Monitor, by name: descriptions of robots do without learning libraries."""
    names = {f"{kind.__module__}.{kind.__name__}" for kind in type(env).__mro__}
    return "stable_baselines3.common.monitor.Monitor" in names


def make(env_id: str, **kwargs: Any) -> gymnasium.Env[Any, Any]:  # noqa: ANN401 (as Gymnasium's)
    """`gymnasium.make` without advice: v4 and v5 are different environments, and their models are not ours to mend."""
    with warnings.catch_warnings(), _warning(_unless_deprecated):
        warnings.filterwarnings("ignore", message=".*is out of date.*", category=DeprecationWarning)
        return gymnasium.make(env_id, **kwargs)


def _unless_deprecated(message: str) -> None:
    if "is deprecated" not in message:
        print(f"WARNING: {message}", file=sys.stderr)
