"""The symmetry of an environment: how a group acts on observation and action, and the evidence for it."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np

from rpp_rl.envs.layout import Block, Layout
from rpp_rl.symmetry import Element, Group, Rep, group_from_dict, group_to_dict, rep_from_dict, rep_to_dict, vector
from rpp_rl.symmetry.relations import require_homomorphism

if TYPE_CHECKING:
    from gymnasium import Space

FORMAT = 1
"""Version of the plain data that `EnvSpec.to_dict` writes."""
EXACT = 1e-9
"""Largest error that rounding explains after 20 steps of a simulator."""
UNIT_IN_NAME = re.compile(r"([^\[\]]+) \[([^\[\]]+)\]")
NAMES_OF_BEFORE = {"inc_1": "error_1_step", "inc_20": "error_20_steps"}
"""What files of before call the errors of a `Generator`."""
KIND_OF_BEFORE = {"rad": "angle", "rad/s": "rate", "m": "position", "m/s": "velocity"}


@dataclass(frozen=True)
class Generator:
    """What one generator of the group does, and what the simulator says about it (see `rpp_rl.envs.check`).

    Errors are None if they have not been measured; those of the shipped specifications are from 400 random states, for
    an infinitesimal generator the larger of two angles.

    Attributes:
        name: Short name, ``"r"``.
        meaning: In words, ``"every leg moves to the place of the next one"``.
        keeps_reward: Whether reward and termination are invariant (up to the error of the dynamics).
        error_1_step: Error of the state after one step, relative to the state's increment.
        error_20_steps: The same after 20 steps.
        reward_max: Largest difference of rewards on these steps.
        termination_mismatches: On how many of these steps only one side terminated.
        note: What else to know, such as where the symmetry breaks.
    """

    name: str
    meaning: str
    keeps_reward: bool
    error_1_step: float | None = None
    error_20_steps: float | None = None
    reward_max: float | None = None
    termination_mismatches: int | None = None
    note: str = ""

    @property
    def is_exact(self) -> bool:
        """Whether measurements say that dynamics, reward and termination are invariant up to rounding."""
        errors = (self.error_1_step, self.error_20_steps, self.reward_max, self.termination_mismatches)
        return self.keeps_reward and all(error is not None and error < EXACT for error in errors)


def percent(error: float) -> str:
    """An error relative to a change, for people: in percent, or as it is when it is of the size of rounding."""
    if error < 1e-6:
        return f"{error:.1e}"
    return f"{100 * error:.2g} %" if error < 0.995 else f"{100 * error:.0f} %"


@dataclass(frozen=True)
class EnvSpec:
    """How a group acts on an environment's observations and actions, with the evidence for it.

    Attributes:
        env_id: Gymnasium's id, ``"Ant-v5"``.
        variant: Name of this choice of group among those offered for the environment, ``"D4"``.
        group: The group that acts.
        observation: Blocks of the observation.
        action: Blocks of the action; every block keeps its numbers and the group permutes them up to sign, because
            tanh of a diagonal Gaussian is equivariant for nothing else.
        generators: One record for each discrete generator of the group, then for each infinitesimal one.

    Raises:
        ValueError: If the parts do not fit together or a representation breaks a relation of the group.
    """

    env_id: str
    variant: str
    group: Group
    observation: Layout
    action: Layout
    generators: tuple[Generator, ...]

    def __post_init__(self) -> None:
        n_generators = len(self.group.generators) + len(self.group.lie_algebra)
        if len(self.generators) != n_generators:
            raise ValueError(
                f"{self}: {self.group} has {n_generators} generators, got records for {len(self.generators)}"
            )
        for block in (*self.observation.blocks, *self.action.blocks):
            if block.rep.group != self.group:
                raise ValueError(f"{self}: block {block.name!r} belongs to {block.rep.group}, not to {self.group}")
        for block in self.action.blocks:
            if block.transform != "identity" or not block.rep.is_signed_permutation:
                raise ValueError(
                    f"{self}: actions can only be permuted and change sign, but block {block.name!r} is "
                    f"{block.rep.name} after {block.transform}"
                )
        _require_relations(self.group, (block.rep for block in (*self.observation.blocks, *self.action.blocks)))

    @property
    def is_exact(self) -> bool:
        """Whether every generator is an exact symmetry of dynamics, reward and termination."""
        return all(record.is_exact for record in self.generators)

    @property
    def error(self) -> float | None:
        """The largest measured one-step error of a generator, relative to the state's change; None if one is unknown.

        It is how far a prior may trust the symmetry: 0 is exact, 1 as bad as predicting no change. It is about the
        dynamics; whether the reward is kept too, `keeps_reward` says.
        """
        measured = [record.error_1_step for record in self.generators if record.error_1_step is not None]
        return max(measured, default=0.0) if len(measured) == len(self.generators) else None

    @property
    def keeps_reward(self) -> bool:
        """Whether every generator leaves reward and termination invariant, up to the error of the dynamics."""
        return all(record.keeps_reward for record in self.generators)

    @property
    def obs_rep(self) -> Rep:
        """How the observation transforms in the coordinates of `rpp_rl.envs.coordinates.to_rep`."""
        return self.observation.rep

    @cached_property
    def action_rep(self) -> Rep:
        """How the action transforms in the environment's own order: a signed permutation."""
        order = np.array([index for block in self.action.blocks for index in block.indices])
        rep = self.action.rep
        if (order == np.arange(len(order))).all():
            return rep
        generators, lie_algebra = np.zeros_like(rep.generators), np.zeros_like(rep.lie_algebra)
        generators[:, order[:, None], order] = rep.generators
        return Rep(rep.name, self.group, generators, lie_algebra)

    def restrict(
        self, variant: str, elements: Sequence[Element | Sequence[int]], group: Group | None = None
    ) -> EnvSpec:
        """The same environment under a finite subgroup.

        Args:
            variant: Name of the new spec.
            elements: The subgroup's generators: elements, or words in this spec's discrete generators.
            group: The subgroup as a group of its own; made of the elements' defining matrices when not given.

        Raises:
            ValueError: If the elements do not generate a group isomorphic to ``group`` by its generators.
        """
        angles = (0.0,) * len(self.group.lie_algebra)
        images = [g if isinstance(g, Element) else Element(tuple(g), angles) for g in elements]
        matrices = np.array([vector(self.group).rho(g) for g in images]).reshape(-1, self.group.d, self.group.d)
        generated = Group(variant, matrices, np.zeros((0, self.group.d, self.group.d)))
        subgroup = generated if group is None else group
        if subgroup.order != generated.order:
            raise ValueError(
                f"{self}: the elements generate {generated.order} elements, {subgroup} has {subgroup.order}"
            )
        return EnvSpec(
            self.env_id,
            variant,
            subgroup,
            self.observation.restrict(subgroup, images),
            self.action.restrict(subgroup, images),
            tuple(self._record(g) for g in images),
        )

    def _record(self, g: Element) -> Generator:
        if any(g.angles):
            return Generator(f"{g}", f"the element {g} of {self.group}", keeps_reward=False)
        factors = [self.generators[k] for k in g.word]
        if len(factors) == 1:
            return factors[0]
        return Generator(
            "·".join(factor.name for factor in factors) or "1",
            "; then ".join(factor.meaning for factor in reversed(factors)) or "nothing moves",
            all(factor.keeps_reward for factor in factors),
        )

    def check_spaces(self, observation_space: Space[Any], action_space: Space[Any]) -> None:
        """Refuse spaces of another size, and bounds of actions that the group does not preserve.

        Raises:
            ValueError: Naming the first block that does not fit.
        """
        self._check_size("observation", self.observation, observation_space)
        self._check_size("action", self.action, action_space)
        low, high = np.asarray(getattr(action_space, "low", -1.0)), np.asarray(getattr(action_space, "high", 1.0))
        if not (np.isfinite(low).all() and np.isfinite(high).all()):
            raise ValueError(f"{self} needs actions with finite bounds, got {low} to {high}")
        center, half_range = (
            np.broadcast_to((low + high) / 2, self.action.size),
            np.broadcast_to(high - low, self.action.size),
        )
        for record, matrix in zip(self.generators, self.action_rep.generators, strict=False):
            off = np.maximum(np.abs(matrix @ center - center), np.abs(np.abs(matrix) @ half_range - half_range))
            if off.max() > 1e-6 * half_range.max():
                index = int(off.argmax())
                raise ValueError(
                    f"{self}: the bounds of action {index} in block {self.action.block_of(index).name!r}, "
                    f"[{low[index]}, {high[index]}], differ from those of its image under {record.name}"
                )

    def _check_size(self, kind: str, layout: Layout, space: Space[Any]) -> None:
        if space.shape == (layout.size,):
            return
        hint = f"expected {layout.size} numbers as in {self.env_id} with default arguments, got shape {space.shape}"
        if space.shape is not None and len(space.shape) == 1 and space.shape[0] < layout.size:
            name = next(b.name for b in layout.blocks if max(b.indices) >= space.shape[0])
            hint += f"; block {name!r} would reach beyond the end"
        elif space.shape is not None and len(space.shape) == 1:
            hint += f"; no block holds the numbers from {layout.size} on"
        raise ValueError(f"{self} does not fit the {kind} space: {hint}")

    def __str__(self) -> str:
        return f"{self.env_id}/{self.variant}"

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON values from which `from_dict` makes an equal spec; every distinct representation stands once."""
        reps = list(dict.fromkeys(block.rep for block in (*self.observation.blocks, *self.action.blocks)))

        def blocks(layout: Layout) -> list[dict[str, Any]]:
            return [
                {
                    "name": block.name,
                    "indices": list(block.indices),
                    "rep": reps.index(block.rep),
                    "transform": block.transform,
                    "kind": _plain(block.kind),
                    "unit": _plain(block.unit),
                    "labels": list(block.labels),
                }
                for block in layout.blocks
            ]

        return {
            "format": FORMAT,
            "env_id": self.env_id,
            "variant": self.variant,
            "group": group_to_dict(self.group),
            "generators": [asdict(record) for record in self.generators],
            "reps": [rep_to_dict(rep) for rep in reps],
            "observation": blocks(self.observation),
            "action": blocks(self.action),
        }

    @staticmethod
    def from_dict(data: Mapping[str, Any]) -> EnvSpec:
        """The spec that `to_dict` described, checked like any other.

        Raises:
            ValueError: If it was written in another format, keys are missing, or the values make no valid spec.
        """
        if not isinstance(data, Mapping) or data.get("format") != FORMAT:
            found = data.get("format") if isinstance(data, Mapping) else type(data).__name__
            raise ValueError(f"expected an environment specification in format {FORMAT}, got {found!r}")
        try:
            group = group_from_dict(data["group"])
            reps = [rep_from_dict(rep, group) for rep in data["reps"]]

            def layout(key: str) -> Layout:
                return Layout(tuple(_block(block, reps) for block in data[key]))

            generators = tuple(_generator(record) for record in data["generators"])
            return EnvSpec(data["env_id"], data["variant"], group, layout("observation"), layout("action"), generators)
        except (KeyError, IndexError, TypeError) as error:
            raise ValueError(f"damaged environment specification: {type(error).__name__}: {error}") from error


def _plain(words: str | tuple[str, ...]) -> str | list[str]:
    return words if isinstance(words, str) else list(words)


def _generator(data: Mapping[str, Any]) -> Generator:
    return Generator(**{NAMES_OF_BEFORE.get(name, name): value for name, value in data.items()})


def _block(data: Mapping[str, Any], reps: Sequence[Rep]) -> Block:
    words = _words_of_before(data["name"]) if "kind" not in data else data
    kind, unit = (words[key] if isinstance(words[key], str) else tuple(words[key]) for key in ("kind", "unit"))
    return Block(
        words["name"],
        tuple(data["indices"]),
        reps[data["rep"]],
        data["transform"],
        kind,
        unit,
        tuple(data.get("labels", ())),
    )


def _words_of_before(name: str) -> dict[str, str]:
    """Files of before have neither kind nor unit: names of one unit ended with it, ``"hip angles [rad]"``."""
    match = UNIT_IN_NAME.fullmatch(name)
    if match is None:
        return {"name": name, "kind": "", "unit": ""}
    return {"name": match[1], "kind": KIND_OF_BEFORE.get(match[2], ""), "unit": match[2]}


def _require_relations(group: Group, reps: Iterable[Rep]) -> None:
    for part in {part for rep in reps for _, part in rep.parts}:
        require_homomorphism(part.name, group, part.generators, part.lie_algebra)
