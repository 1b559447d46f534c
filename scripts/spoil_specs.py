"""Is every mistake in a specification noticed? One sign or one index is changed at a time, as a slip of the pen does.

A mistake counts as noticed if the specification is refused when it is made, or its check says less than that of the
true one: no longer exact or, where that was not exact either, wrong. All are checked from the same states, those of the
true specification, and what was simulated once is remembered.

python -m scripts.spoil_specs Humanoid-v5 --group Z2 --exchanges 60
"""

from __future__ import annotations

import argparse
import copy
import dataclasses
from collections import Counter
from collections.abc import Iterator
from itertools import combinations
from typing import NamedTuple

import numpy as np
from jaxtyping import Float
from numpy import ndarray

import envs_reps
from rpp_rl.derive.checking import mover_of
from rpp_rl.envs import EnvSpec, Layout, from_rep, to_rep
from rpp_rl.envs.check import ANGLES, Comparison
from rpp_rl.envs.sensitivity import STAGES, SensitivityTrial
from rpp_rl.envs.simulator import Rollout, Simulator, States, make
from rpp_rl.symmetry import Element, Rep

PARTS = ("observation", "action")
CLEAR = 1e-2
"""Relative error of a number in a few states with which nothing is exact."""


class Spoilt(NamedTuple):
    """A specification with a mistake.

    Attributes:
        kind: ``"sign"`` or ``"exchange"``.
        part: ``"observation"`` or ``"action"``.
        numbers: Which of its numbers it concerns.
        spec: The specification; None if there is none with that mistake.
    """

    kind: str
    part: str
    numbers: tuple[int, ...]
    spec: EnvSpec | None


class Remembering(Simulator):
    """A simulator that does nothing twice."""

    def rollout(self, start: States, actions: Float[ndarray, "T n action"]) -> Rollout:
        """What follows from the states."""
        model, memory = self.env.model, self.__dict__.setdefault("memory", {})
        arrays = start.physics, actions, *start.task.values(), model.geom_contype
        key = hash((*(array.tobytes() for array in arrays), model.opt.disableflags, self.env.frame_skip))
        if key not in memory:
            memory[key] = super().rollout(start, actions)
        return memory[key]


class Bench:
    """Checks specifications of one environment, all from the same states.

    Args:
        spec: The true specification.
        env_id: Its environment.
        n_states: Number of states.
    """

    def __init__(self, spec: EnvSpec, env_id: str, n_states: int) -> None:
        self.simulator, rng = Remembering(make(env_id)), np.random.default_rng(0)
        self.spec, mover = spec, mover_of(spec, self.simulator)
        self.comparison = Comparison(spec, self.simulator, mover, n_states, rng)
        self.verdicts = self._verdicts(self.comparison)

    def tells_apart(self, numbers: tuple[int, ...]) -> bool:
        """Whether numbers of the observation are not always equal, or zero."""
        rollouts = *self.comparison.rollouts[:2], *self.comparison.hidden_rollouts
        seen = [rollout.obs[1:, :, list(numbers)].reshape(-1, len(numbers)) for rollout in rollouts]
        values = np.concatenate(seen)
        return not np.allclose(values, values[:, ::-1] if len(numbers) > 1 else 0.0, atol=1e-12)

    def notices(self, spec: EnvSpec) -> bool:
        """Whether the check of another specification says less."""
        comparison = copy.copy(self.comparison)
        comparison.spec, comparison.mover = spec, mover_of(spec, self.simulator)
        slices = zip(spec.observation.blocks, spec.observation.slices, strict=True)
        for block, where in slices:
            comparison.is_state[where] = max(block.indices) < self.simulator.n_state
        if any(self._is_clear(comparison, k) for k in range(len(spec.group.generators))):
            return True
        pairs = zip(self.verdicts, self._verdicts(comparison), strict=True)
        return any(now == "wrong" or ("exact" in before and now != before) for before, now in pairs)

    def _is_clear(self, comparison: Comparison, k: int) -> bool:
        """Whether it is seen in single steps from a few states or, where nothing is exact, as what fits better."""
        spec, simulator = comparison.spec, self.simulator
        g = spec.group.generator_elements()[k]
        state_map, control = comparison.mover(simulator, g), spec.action_rep.rho(g)
        images = [experiment.moved(state_map, control).run(simulator) for experiment in comparison.experiments[:2]]
        tried = comparison.experiments[:3], comparison.rollouts[:3], images
        trial = SensitivityTrial(spec, simulator, state_map, g, *tried, comparison.is_state)
        if "exact" in self.verdicts[k]:
            return max(errors.max(initial=0.0) for errors in trial.known[STAGES[-1]]) > CLEAR
        return any(True for _ in trial.better())

    def _verdicts(self, comparison: Comparison) -> list[str]:
        spec = comparison.spec
        n = len(spec.group.generators)
        found = [comparison.check("", g).verdict for g in spec.group.generator_elements()[:n]]
        for k in range(n, len(spec.generators)):
            half_turn = spec.group.generator_elements(np.pi)[k]
            turns = [spec.group.generator_elements(float(np.deg2rad(angle)))[k] for angle in ANGLES]
            found += [comparison.check("", g, half_turn).verdict for g in turns]
        return found


def signs(spec: EnvSpec) -> Iterator[Spoilt]:
    """Specifications with one changed sign, of one number under one generator."""
    for part in PARTS:
        for b, block in enumerate(getattr(spec, part).blocks):
            rep = block.rep
            stacks = np.concatenate([rep.generators, rep.lie_algebra])
            for k, i in np.argwhere(stacks.any(axis=2)) if block.transform == "identity" else ():
                changed = stacks.copy()
                changed[k, i] *= -1
                n = len(rep.generators)
                # A pair keeps its order of two if both of its signs change.
                for maps in (changed, _both_signs(stacks, k, i)):
                    new = Rep("changed", rep.group, maps[:n], maps[n:])
                    yield Spoilt("sign", part, (block.indices[i],), _with_block(spec, part, b, rep=new))


def _both_signs(stacks: ndarray, k: int, i: int) -> ndarray:
    changed = stacks.copy()
    changed[k, i] *= -1
    changed[k, :, i] *= -1
    changed[k, i, i] = -stacks[k, i, i]
    return changed


def _with_block(spec: EnvSpec, part: str, b: int, **changes: object) -> EnvSpec | None:
    blocks = list(getattr(spec, part).blocks)
    try:
        blocks[b] = dataclasses.replace(blocks[b], **changes)
        return dataclasses.replace(spec, **{part: Layout(tuple(blocks))})
    except ValueError:
        return None


def exchanges(spec: EnvSpec, n: int, rng: np.random.Generator) -> Iterator[Spoilt]:
    """Specifications in which two indices have changed places, within blocks and across: at most ``n`` of each."""
    for part in PARTS:
        layout = getattr(spec, part)
        at = {index: block.name for block in layout.blocks for index in block.indices}
        pairs = list(combinations(at, 2))
        for kind in ([p for p in pairs if at[p[0]] == at[p[1]]], [p for p in pairs if at[p[0]] != at[p[1]]]):
            for which in sorted(rng.permutation(len(kind))[:n]):
                i, j = kind[which]
                other = {i: j, j: i}
                blocks = [
                    dataclasses.replace(block, indices=tuple(other.get(k, k) for k in block.indices))
                    for block in layout.blocks
                ]
                changed = dataclasses.replace(spec, **{part: Layout(tuple(blocks))})
                yield Spoilt("exchange", part, (i, j), changed)


def image(spec: EnvSpec, g: Element, numbers: ndarray) -> ndarray:
    """Of observations and actions side by side; rotations as those of the spec's blocks."""
    obs, action = np.split(numbers, [spec.observation.size], axis=1)
    moved = from_rep(spec.observation, to_rep(spec.observation, obs) @ spec.obs_rep.rho(g).T)
    for block in spec.observation.blocks:
        if block.transform != "identity":
            quaternion = sorted(block.indices)
            moved[:, quaternion] *= np.sign(moved[:, quaternion[:1]])
    return np.hstack([moved, action @ spec.action_rep.rho(g).T])


def is_same(spec: EnvSpec, other: EnvSpec) -> bool:
    """Whether both say the same of all numbers."""
    numbers = np.random.default_rng(0).normal(size=(5, spec.observation.size + spec.action.size))
    for block in spec.observation.blocks:
        if block.transform != "identity":
            numbers[:, block.indices] /= np.linalg.norm(numbers[:, block.indices], axis=1, keepdims=True)
    generators = zip(spec.group.generator_elements(0.7), other.group.generator_elements(0.7), strict=True)
    return all(np.allclose(image(spec, g, numbers), image(other, h, numbers)) for g, h in generators)


def outcome(bench: Bench, spoilt: Spoilt) -> str:
    """What becomes of a mistake."""
    if spoilt.spec is None:
        return "refused"
    if is_same(bench.spec, spoilt.spec) or (spoilt.part == "observation" and not bench.tells_apart(spoilt.numbers)):
        return "without effect"
    try:
        return "noticed" if bench.notices(spoilt.spec) else "missed"
    except ValueError:
        return "refused"


def main() -> None:
    """Parse the command line, spoil, check, and tell what was missed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("env_id", metavar="ENV")
    parser.add_argument("--group", help="absent for the environment's default")
    parser.add_argument("--exchanges", type=int, default=60, metavar="N", help="of each kind; more are drawn at random")
    parser.add_argument("--states", type=int, default=5)
    args = parser.parse_args()
    spec = envs_reps.load(args.env_id, args.group)
    bench, counts = Bench(spec, args.env_id, args.states), Counter()
    print(f"{spec}: {', '.join(bench.verdicts)}")
    for spoilt in (*signs(spec), *exchanges(spec, args.exchanges, np.random.default_rng(0))):
        found = outcome(bench, spoilt)
        counts[spoilt.kind, found] += 1
        if found == "missed":
            print(f"missed: {spoilt.kind} of {spoilt.part} {spoilt.numbers}", flush=True)
    for (kind, found), count in sorted(counts.items()):
        print(f"{kind} {found}: {count}")


if __name__ == "__main__":
    main()
