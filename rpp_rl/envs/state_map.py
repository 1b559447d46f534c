"""How an element of the group moves the state of a simulator, and how well a step follows."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
from jaxtyping import Bool, Float
from numpy import ndarray

from rpp_rl.envs.coordinates import from_rep, to_rep
from rpp_rl.envs.layout import Block, Layout
from rpp_rl.envs.simulator import Rollout, Simulator, States
from rpp_rl.envs.spec import EnvSpec
from rpp_rl.symmetry import Element, Rep, trivial


@dataclass(frozen=True, eq=False)
class StateMap:
    """A map of the states of a simulator.

    Attributes:
        layout: Positions and velocities in blocks, with rotation matrices in place of quaternions.
        matrix: Acts on their coordinates.
        task: For each quantity that the task remembers a matrix.
        counted: Which coordinates are compared; not the place in the world where the observation leaves it out.
    """

    layout: Layout
    matrix: Float[ndarray, "m m"]
    task: Mapping[str, Float[ndarray, "k k"]]
    counted: Bool[ndarray, " m"]

    @cached_property
    def names(self) -> list[str]:
        """Of the coordinates."""
        return [f"{block.name}, coordinate {i}" for block in self.layout.blocks for i in range(block.rep.size)]

    def coordinates(self, physics: Float[ndarray, "*batch nq_nv"]) -> Float[ndarray, "*batch m"]:
        """On which the matrix acts."""
        return to_rep(self.layout, physics)

    def image(self, states: States) -> States:
        """The images of states."""
        physics = from_rep(self.layout, self.coordinates(states.physics) @ self.matrix.T)
        task = {name: values @ self.task[name].T for name, values in states.task.items()}
        return States(physics, task)

    def ends(self, rollout: Rollout, image: Rollout) -> tuple[Float[ndarray, "n m"], Float[ndarray, "n m"]]:
        """Predicted and actual coordinates after the last step."""
        return self.coordinates(rollout.physics[-1]) @ self.matrix.T, self.coordinates(image.physics[-1])

    def changes(
        self, rollout: Rollout, image: Rollout, step: int = 1
    ) -> tuple[Float[ndarray, "n m"], Float[ndarray, "n m"]]:
        """Predicted and actual changes of the coordinates in some steps."""
        before, after = (self.coordinates(rollout.physics[t]) for t in (0, step))
        predicted = (after - before) @ self.matrix.T
        return predicted, self.coordinates(image.physics[step]) - before @ self.matrix.T

    def inc(self, rollout: Rollout, image: Rollout, step: int) -> float:
        """The error of the compared coordinates after some steps, relative to their change."""
        errors = self.state_errors(rollout, image, step)
        error2, change2 = (errors**2).sum(axis=0).tolist()
        if error2 == 0.0:
            return 0.0
        return float(np.sqrt(error2 / change2)) if change2 > 0.0 else float("inf")

    def state_errors(self, rollout: Rollout, image: Rollout, step: int = 1) -> Float[ndarray, "n 2"]:
        """For each state the length of the error of the compared coordinates, and that of their change."""
        predicted, actual = (x[:, self.counted] for x in self.changes(rollout, image, step))
        return np.stack([np.linalg.norm(predicted - actual, axis=1), np.linalg.norm(predicted, axis=1)], axis=1)


def state_map_of_observation(spec: EnvSpec) -> Callable[[Simulator, Element], StateMap]:
    """How a specification moves states, for observations that begin with positions and velocities.

    Raises:
        ValueError: When used, if a block holds positions or velocities together with other numbers.
    """
    layouts: dict[int, Layout] = {}

    def state_map(simulator: Simulator, g: Element) -> StateMap:
        if id(simulator) not in layouts:
            layouts[id(simulator)] = _state_layout(spec, simulator)
        layout = layouts[id(simulator)]
        rep = layout.rep
        counted = np.arange(rep.size) >= simulator.n_skipped
        task = {name: np.eye(values.shape[1]) for name, values in simulator.current().task.items()}
        return StateMap(layout, rep.rho(g), task, counted)

    return state_map


def _state_layout(spec: EnvSpec, simulator: Simulator) -> Layout:
    """The blocks of positions and velocities, behind the leading positions that observations leave out."""
    skip, n_state = simulator.n_skipped, simulator.n_state
    blocks = []
    if skip:
        world = skip * trivial(spec.group)
        blocks.append(Block("place in the world", tuple(range(skip)), world, kind="position", unit="m"))
    for block in spec.observation.blocks:
        inside = np.array([index < n_state for index in block.indices])
        if inside.any():
            blocks.append(_shifted(block if inside.all() else _part(spec, block, inside), skip))
    return Layout(tuple(blocks))


def _shifted(block: Block, skip: int) -> Block:
    return replace(block, indices=tuple(index + skip for index in block.indices))


def _part(spec: EnvSpec, block: Block, inside: Bool[ndarray, " k"]) -> Block:
    """The positions and velocities of a block that holds other numbers too, if the group keeps the two apart."""
    stacks = [block.rep.generators, block.rep.lie_algebra]
    crossing = [stack[:, inside][:, :, ~inside] for stack in stacks if block.transform == "identity"]
    if not crossing or any(part.any() for part in crossing):
        raise ValueError(f"{spec}: block {block.name!r} mixes positions or velocities with other numbers")
    generators, lie_algebra = (stack[:, inside][:, :, inside] for stack in stacks)
    rep = Rep(f"part of {block.rep.name}", spec.group, generators, lie_algebra)
    return block.part(np.flatnonzero(inside).tolist(), rep)
