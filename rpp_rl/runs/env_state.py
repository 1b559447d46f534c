"""Where an environment stands, as plain values: taken from one, given to another that was made in the same way.

Gymnasium has no function for this, so the attributes of the environment and of its wrappers are walked through. Plain
values, arrays and random generators are noted; of a MuJoCo simulation every array of its data is, because observations
read more than positions and velocities. Whatever is known to have no memory (renderers, files) is passed over. If
anything else is met, the environment cannot be continued from the middle of an episode, and the error says so: a part
that was overlooked would make a run that only looks like its continuation.

Nothing is imported or built that the values name: they are set on the objects that the new environment has already.
"""

from __future__ import annotations

import hashlib
import logging
import random
import types
from collections import deque
from collections.abc import Mapping
from pathlib import PurePath
from typing import Any

import gymnasium as gym
import numpy as np
from gymnasium.envs.mujoco.mujoco_rendering import MujocoRenderer
from gymnasium.envs.registration import EnvSpec
from mujoco import MjData, MjModel  # pyright: ignore[reportAttributeAccessIssue]
from stable_baselines3.common.monitor import Monitor, ResultsWriter

FORGETFUL = (
    EnvSpec, MujocoRenderer, ResultsWriter, PurePath, logging.Logger, type, types.ModuleType,
    types.BuiltinFunctionType, np.dtype, np.ufunc,
)  # fmt: skip
"""Kinds of objects that an episode does not change."""
OF_THE_PROCESS = {"t_start", "episode_returns", "episode_lengths", "episode_times"}
"""Attributes of SB3's ``Monitor`` that are about this process and not about the episode."""
MAX_DEPTH = 50


class NotRestorableError(Exception):
    """The environment has a part whose state is not known; the text says which."""


def capture(env: gym.Env) -> Any:  # noqa: ANN401
    """Where the environment stands, as a tree of plain values and arrays.

    Raises:
        NotRestorableError: If it has a part whose state cannot be told.
    """
    walk = _Capture()
    tree = walk.value(env, "env", 0)
    walk.refuse_shared_memory()
    return tree


def restore(env: gym.Env, tree: Any) -> None:  # noqa: ANN401
    """Let an environment stand where another one stood that was made in the same way.

    The environment should have been reset, so that its parts exist; after an error it is to be reset again.

    Args:
        env: The environment.
        tree: What `capture` returned for the other one.

    Raises:
        NotRestorableError: If it is made of other parts.
    """
    try:
        _Restore().value(env, tree, "env")
    except (KeyError, TypeError, ValueError, AttributeError, IndexError) as error:
        raise NotRestorableError(f"its state does not fit: {type(error).__name__}: {error}") from error


class _Capture:
    """One walk; every object that can change is noted once, and by its number where it is met again."""

    def __init__(self) -> None:
        self.seen: dict[int, int] = {}
        self.kept: list[Any] = []  # so that no number of an object is used twice
        self.memory: list[tuple[int, int, str]] = []

    def value(self, value: Any, where: str, depth: int) -> Any:  # noqa: ANN401
        if value is None or isinstance(value, bool | int | float | str | np.generic):
            return _immutable(value, where)
        if depth > MAX_DEPTH:
            raise NotRestorableError(f"{where} is nested too deeply")
        if isinstance(value, FORGETFUL):
            return ["fixed"]
        if isinstance(value, tuple):
            return ["tuple", [self.value(item, f"{where}[{k}]", depth + 1) for k, item in enumerate(value)]]
        if id(value) in self.seen:
            return ["same", self.seen[id(value)]]
        self.seen[id(value)] = len(self.seen)
        self.kept.append(value)
        return self._mutable(value, where, depth + 1)

    def _mutable(self, value: Any, where: str, depth: int) -> Any:  # noqa: ANN401, C901
        if isinstance(value, np.ndarray):
            return ["array", self._array(value, where)]
        if type(value) in (list, deque):
            return [type(value).__name__, [self.value(item, f"{where}[{k}]", depth) for k, item in enumerate(value)]]
        if type(value) is dict:
            return ["dict", self._mapping(value, where, depth)]
        if isinstance(value, np.random.Generator):
            return ["generator", _plain(value.bit_generator.state)]
        if isinstance(value, np.random.RandomState):
            return ["legacy", _plain(value.get_state(legacy=False))]
        if type(value) is random.Random:
            return ["random", value.getstate()]
        if isinstance(value, gym.Space):
            return ["space", self.value(value._np_random, f"{where}._np_random", depth)]
        if isinstance(value, MjData):
            return ["data", self._simulation(value, where)]
        if isinstance(value, MjModel):
            self._claim_all(_arrays(value), where)
            return ["model", model_digest(value)]
        if isinstance(value, types.FunctionType) and not value.__closure__:
            return ["fixed"]
        if hasattr(value, "__dict__") and _is_written_in_python(type(value)):
            return ["object", _kind(value), self._mapping(_attributes(value), where, depth)]
        raise NotRestorableError(f"{where} is a {_kind(value)}, whose state is not known")

    def _mapping(self, mapping: Mapping[Any, Any], where: str, depth: int) -> list[Any]:
        if not all(isinstance(key, str | int) for key in mapping):
            raise NotRestorableError(f"{where} has keys that are neither text nor integers")
        return [[key, self.value(item, f"{where}.{key}", depth)] for key, item in mapping.items()]

    def _array(self, array: np.ndarray, where: str) -> np.ndarray:
        if array.dtype.kind not in "fiub" or array.dtype.itemsize > 8:
            raise NotRestorableError(f"{where} is an array of {array.dtype}")
        self._claim_all({"": array}, where)
        return array.copy()

    def _simulation(self, data: MjData, where: str) -> dict[str, Any]:
        arrays = _arrays(data)
        self._claim_all(arrays, where)
        return {"time": float(data.time), **{name: array.copy() for name, array in arrays.items() if array.size}}

    def _claim_all(self, arrays: Mapping[str, np.ndarray], where: str) -> None:
        for name, array in arrays.items():
            if array.size:
                first = array.__array_interface__["data"][0]
                low = sum(min(0, stride * (n - 1)) for stride, n in zip(array.strides, array.shape, strict=True))
                high = sum(max(0, stride * (n - 1)) for stride, n in zip(array.strides, array.shape, strict=True))
                self.memory.append((first + low, first + high + array.itemsize, f"{where}.{name}"))

    def refuse_shared_memory(self) -> None:
        """A view of another array, of the simulation's above all, would be cut off from it by setting it."""
        end, owner = 0, ""
        for first, last, where in sorted(self.memory):
            if first < end and not _same_simulation(owner, where):
                raise NotRestorableError(f"{where} is a view of {owner}")
            if last > end:
                end, owner = last, where


class _Restore:
    """The same walk over another environment, setting what was noted."""

    def __init__(self) -> None:
        self.seen: list[Any] = []

    def value(self, old: Any, tree: Any, where: str) -> Any:  # noqa: ANN401
        """What is to stand in the place of ``old``, which is changed where it is an object."""
        if not isinstance(tree, list):
            return tree
        kind, *content = tree
        if kind == "fixed":
            return old
        if kind == "tuple":
            olds = old if isinstance(old, tuple) and len(old) == len(content[0]) else [None] * len(content[0])
            return tuple(self.value(o, t, where) for o, t in zip(olds, content[0], strict=True))
        if kind == "same":
            return self.seen[content[0]]
        return getattr(self, f"_{kind}")(old, *content, where)

    def _note(self, value: Any) -> Any:  # noqa: ANN401
        self.seen.append(value)
        return value

    def _array(self, old: Any, array: np.ndarray, where: str) -> np.ndarray:  # noqa: ANN401
        return self._note(array)

    def _list(self, old: Any, items: list[Any], where: str) -> list[Any]:  # noqa: ANN401
        new: list[Any] = self._note([])
        new.extend(self.value(o, t, where) for o, t in zip(_padded(old, len(items)), items, strict=True))
        return new

    def _deque(self, old: Any, items: list[Any], where: str) -> deque[Any]:  # noqa: ANN401
        new: deque[Any] = self._note(deque(maxlen=old.maxlen))
        new.extend(self.value(o, t, where) for o, t in zip(_padded(old, len(items)), items, strict=True))
        return new

    def _dict(self, old: Any, items: list[Any], where: str) -> dict[Any, Any]:  # noqa: ANN401
        new: dict[Any, Any] = self._note({})
        olds = old if isinstance(old, dict) else {}
        for key, tree in items:
            new[key] = self.value(olds.get(key), tree, f"{where}.{key}")
        return new

    def _generator(self, old: Any, state: Any, where: str) -> np.random.Generator:  # noqa: ANN401
        self._expect(old, np.random.Generator, where)
        old.bit_generator.state = state
        return self._note(old)

    def _legacy(self, old: Any, state: Any, where: str) -> np.random.RandomState:  # noqa: ANN401
        self._expect(old, np.random.RandomState, where)
        old.set_state(state)
        return self._note(old)

    def _random(self, old: Any, state: Any, where: str) -> random.Random:  # noqa: ANN401
        self._expect(old, random.Random, where)
        old.setstate(state)
        return self._note(old)

    def _space(self, old: Any, state: Any, where: str) -> gym.Space:  # noqa: ANN401
        self._expect(old, gym.Space, where)
        self._note(old)
        if state is None:
            old._np_random = None
        else:
            self.value(old.np_random, state, where)
        return old

    def _data(self, old: Any, arrays: dict[str, Any], where: str) -> MjData:  # noqa: ANN401
        self._expect(old, MjData, where)
        old.time = arrays["time"]
        for name, array in arrays.items():
            # Lists of contacts and constraints have other lengths; every step makes them anew.
            if name != "time" and getattr(old, name).shape == array.shape:
                getattr(old, name)[...] = array
        return self._note(old)

    def _model(self, old: Any, digest: str, where: str) -> MjModel:  # noqa: ANN401
        self._expect(old, MjModel, where)
        if model_digest(old) != digest:
            raise NotRestorableError(f"{where} is another MuJoCo model than it was")
        return self._note(old)

    def _object(self, old: Any, kind: str, items: list[Any], where: str) -> Any:  # noqa: ANN401
        if _kind(old) != kind:
            raise NotRestorableError(f"{where} is a {_kind(old)} and was a {kind}")
        self._note(old)
        attributes = _attributes(old)
        for name in attributes.keys() - {name for name, _ in items}:
            del vars(old)[name]
        for name, tree in items:
            vars(old)[name] = self.value(attributes.get(name), tree, f"{where}.{name}")
        return old

    def _expect(self, value: object, kind: type, where: str) -> None:
        if not isinstance(value, kind):
            raise NotRestorableError(f"{where} is a {_kind(value)} and was a {kind.__name__}")


def model_digest(model: MjModel) -> str:
    """A digest of all numbers of a MuJoCo model, which an environment may change (as domain randomisation does)."""
    digest = hashlib.sha256()
    for name, array in sorted(_arrays(model).items()):
        digest.update(f"{name}{array.shape}".encode() + np.ascontiguousarray(array).tobytes())
    options = model.opt
    digest.update(repr([getattr(options, name) for name in dir(options) if not name.startswith("_")]).encode())
    return digest.hexdigest()


def _arrays(struct: Any) -> dict[str, np.ndarray]:  # noqa: ANN401
    """The arrays of a MuJoCo structure by name."""
    values = ((name, getattr(struct, name)) for name in dir(struct) if not name.startswith("_"))
    return {name: value for name, value in values if isinstance(value, np.ndarray)}


def _attributes(value: Any) -> dict[str, Any]:  # noqa: ANN401
    left_out = OF_THE_PROCESS if isinstance(value, Monitor) else set()
    return {name: item for name, item in vars(value).items() if name not in left_out}


def _immutable(value: Any, where: str) -> Any:  # noqa: ANN401
    if isinstance(value, np.generic) and (value.dtype.kind not in "fiub" or value.dtype.itemsize > 8):
        raise NotRestorableError(f"{where} is a {value.dtype}")
    if type(value) in (bool, int, float, str) or value is None or isinstance(value, np.generic):
        return value
    raise NotRestorableError(f"{where} is a {_kind(value)}, whose state is not known")


def _plain(state: Any) -> Any:  # noqa: ANN401
    """The state of a random generator with its arrays copied."""
    if isinstance(state, Mapping):
        return {key: _plain(item) for key, item in state.items()}
    return state.copy() if isinstance(state, np.ndarray) else state


def _kind(value: object) -> str:
    return f"{type(value).__module__}.{type(value).__qualname__}"


def _is_written_in_python(kind: type) -> bool:
    """Whether all that an object of this class remembers is in its ``__dict__``."""
    made_by_class_statement = 1 << 9  # CPython's Py_TPFLAGS_HEAPTYPE
    bases = [base for base in kind.__mro__ if base is not object]
    return all(base.__flags__ & made_by_class_statement and not vars(base).get("__slots__") for base in bases)


def _padded(old: Any, n: int) -> list[Any]:  # noqa: ANN401
    """What stands in the places of a sequence that may have another length."""
    return [*(old if isinstance(old, list | deque) else ()), *[None] * n][:n]


def _same_simulation(one: str, other: str) -> bool:
    """Some arrays of MuJoCo are views of others, and stay so."""
    return one.rpartition(".")[0] == other.rpartition(".")[0]
