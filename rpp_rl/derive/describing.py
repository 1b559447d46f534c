"""An observation described by its user: which numbers are which quantity of the vocabulary.

In YAML, or the same as a dictionary in Python:

    observation:
      base_lin_vel: 0:3
      projected_gravity: 6:9
      command_velocity: 9:12
      joint_pos: {at: 12:24, joints: [LF_HAA, LF_HFE, LF_KFE, ...]}   # as in legged_gym; the model's order if not named
      left foot: {quantity: contact, at: 48, bodies: [LF_FOOT]}       # any name, with the kind beside it
    history: 5                     # how many such frames follow one another
    action: {joints: [LF_HAA, ...]}  # the model's actuators in their order if not given
"""

from __future__ import annotations

import dataclasses
import re
import reprlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path
from typing import Any

import numpy as np
import yaml
from jaxtyping import Float
from numpy import ndarray

from rpp_rl.derive.joints import joined
from rpp_rl.derive.observation import Atom, ObservationParts
from rpp_rl.derive.quantities import QUANTITIES, NoLinearMapError, Options, Quantity
from rpp_rl.derive.robot import Robot
from rpp_rl.derive.symmetries import RobotSymmetry
from rpp_rl.settings import PlainLoader, read_yaml
from rpp_rl.symmetry.matrices import snapped

KEYS = ("observation", "action", "history", "base")
OPTIONS = tuple(field.name for field in dataclasses.fields(Options))
LISTS = ("joints", "actuators", "bodies", "geoms", "x", "y")
RANGE = re.compile(r"(\d{1,9}):(\d{1,9})")
MAX_NUMBERS = 100_000
"""More numbers than an observation has; descriptions are untrusted, and must not exhaust the memory."""


class _Loader(PlainLoader):
    """YAML in which 6:9 is a text and not the number 369, to base 60."""


_Loader.yaml_implicit_resolvers = {
    first: [
        (tag, pattern) for tag, pattern in resolvers if tag not in ("tag:yaml.org,2002:int", "tag:yaml.org,2002:float")
    ]
    for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
}
_Loader.add_implicit_resolver("tag:yaml.org,2002:int", re.compile(r"[-+]?\d+$"), list("-+0123456789"))
_Loader.add_implicit_resolver(
    "tag:yaml.org,2002:float", re.compile(r"[-+]?(\d+\.\d*|\.\d+)([eE][-+]?\d+)?$"), list("-+.0123456789")
)


@dataclass(frozen=True)
class Slot:
    """Numbers of the observation that are one quantity.

    Attributes:
        name: What the user calls it.
        quantity: Its kind.
        indices: Where the numbers are.
        options: What it is about.
    """

    name: str
    quantity: Quantity
    indices: tuple[int, ...]
    options: Options


@dataclass(frozen=True)
class Description:
    """What the numbers of an observation are, and which joint or actuator each number of the action drives.

    Attributes:
        slots: The quantities of one frame.
        action: What the action is about.
        history: How many frames an observation holds.
    """

    slots: tuple[Slot, ...]
    action: Options
    history: int = 1

    @property
    def frame(self) -> int:
        """Numbers of one frame."""
        return sum(len(slot.indices) for slot in self.slots)

    def observation_parts(self, robot: Robot) -> ObservationParts:
        """The numbers of the observation, and how symmetries move them.

        Raises:
            ValueError: If the robot lacks a named part, or a quantity has another number of components than indices.
        """
        atoms: list[Atom] = []
        for number in range(self.history):
            for slot in self.slots:
                atoms += _atoms(slot, robot, number, self.frame, self.history)

        def matrix(element: RobotSymmetry) -> Float[ndarray, "n n"]:
            frame = [slot.quantity.matrix(element, slot.options) for slot in self.slots]
            return snapped(joined(*(self.history * frame)), 1e-9)

        return ObservationParts(tuple(atoms), matrix, lambda element: _is_linear(element, matrix))

    def action_parts(self, robot: Robot) -> ObservationParts:
        """The numbers of the action, and how symmetries move them."""
        quantity = QUANTITIES["last_action"]
        names = quantity.names(robot, self.action)
        atoms = tuple(Atom("control", "action", "1", name, (i,)) for i, name in enumerate(names))

        def matrix(element: RobotSymmetry) -> Float[ndarray, "n n"]:
            return quantity.matrix(element, self.action)

        return ObservationParts(atoms, matrix, lambda element: _is_linear(element, matrix))


def control_parts(robot: Robot) -> ObservationParts:
    """The action of an environment that passes it on to the model's actuators."""
    return Description((), Options()).action_parts(robot)


def read_description(path: Path) -> Description:
    """The description in a file.

    Raises:
        ValueError: If the file holds no valid description.
        OSError: If it cannot be read.
    """
    try:
        return description(read_yaml(path.read_text(encoding="utf-8"), _Loader))
    except UnicodeDecodeError as error:
        raise ValueError(f"{path}: expected a description in YAML: {' '.join(str(error).split())}") from error
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from error


def description(data: Any) -> Description:  # noqa: ANN401 (whatever a file holds)
    """The description in plain values.

    Raises:
        ValueError: Saying what was expected, if something is unknown or does not fit.
    """
    if not isinstance(data, Mapping) or not isinstance(data.get("observation"), Mapping):
        raise ValueError("expected a mapping with the key 'observation', under which quantities have their numbers")
    _require_known("key", data, KEYS)
    base = data.get("base")
    if base is not None and not isinstance(base, str):
        raise ValueError(f"base: expected the name of a body, got {base!r}")
    history = data.get("history", 1)
    if not isinstance(history, int) or isinstance(history, bool) or not 1 <= history <= MAX_NUMBERS:
        raise ValueError(f"history: expected a positive number of frames, got {history!r}")
    slots = tuple(_slot(str(name), value, base) for name, value in data["observation"].items())
    _require_complete(slots)
    action = data.get("action") or {}
    if not isinstance(action, Mapping):
        raise ValueError(f"action: expected a mapping such as {{joints: [...]}}, got {action!r}")
    _require_known("option of the action", action, ("joints", "actuators"))
    return Description(slots, _options("action", action), history)


def task_matrix(kind: object, element: RobotSymmetry) -> Float[ndarray, "k k"]:
    """How a symmetry moves a quantity that a task remembers, given its kind or a mapping with kind and options.

    Raises:
        ValueError: If the kind is not known.
        NoLinearMapError: If it is not moved linearly.
    """
    given = dict(kind) if isinstance(kind, Mapping) else {"quantity": kind}
    quantity = _quantity("task_quantities", given.pop("quantity", None))
    return quantity.matrix(element, _options("task_quantities", given))


def _slot(name: str, value: object, base: str | None) -> Slot:
    given = dict(value) if isinstance(value, Mapping) else {"at": value}
    quantity = _quantity(name, given.pop("quantity", name))
    if "at" not in given:
        raise ValueError(f"{name}: expected the numbers it has in the observation, such as {{at: 0:3}}")
    indices = _indices(name, given.pop("at"))
    _require_known(f"option of {name}", given, (*quantity.needs, *quantity.takes))
    for option in quantity.needs:
        if option not in given:
            raise ValueError(f"{name}: expected {', '.join(quantity.needs)}, got no {option}")
    if "bodies" in quantity.takes and not {"bodies", "geoms"} & set(given):
        raise ValueError(f"{name}: expected the names of bodies or geoms, such as {{bodies: [left_foot, right_foot]}}")
    if base is not None and "base" in quantity.takes:
        given.setdefault("base", base)
    return Slot(name, quantity, indices, _options(name, given))


def _quantity(name: str, kind: object) -> Quantity:
    if kind not in QUANTITIES:
        near = get_close_matches(str(kind), QUANTITIES, n=1)
        hint = f", did you mean {near[0]}?" if near else ""
        raise ValueError(f"{name}: unknown quantity {kind!r}{hint} Known are {', '.join(QUANTITIES)}")
    return QUANTITIES[str(kind)]


def _options(name: str, given: Mapping[str, Any]) -> Options:
    _require_known(f"option of {name}", given, OPTIONS)
    values: dict[str, Any] = {}
    for key, value in given.items():
        if key not in LISTS:
            values[key] = str(value)
        elif key in ("x", "y"):
            values[key] = _grid(name, key, value)
        elif isinstance(value, Sequence) and not isinstance(value, str):
            values[key] = tuple(str(item) for item in value)
        else:
            raise ValueError(f"{name}: expected a list of names for {key}, got {value!r}")
    return Options(**values)


def _grid(name: str, key: str, value: object) -> tuple[float, ...]:
    """Numbers as a list, or ``{from: -0.8, to: 0.8, n: 17}``."""
    if isinstance(value, Mapping) and set(value) == {"from", "to", "n"}:
        is_grid = all(isinstance(number, int | float) for number in value.values()) and 0 < value["n"] <= MAX_NUMBERS
        value = np.linspace(value["from"], value["to"], int(value["n"])).tolist() if is_grid else value
    numbers = list(value) if isinstance(value, Sequence) and not isinstance(value, str) else []
    if not numbers or not all(isinstance(number, int | float) for number in numbers):
        raise ValueError(f"{name}: expected numbers for {key}, or {{from: -0.8, to: 0.8, n: 17}}, got {value!r:.200}")
    return tuple(float(number) for number in numbers)


def _indices(name: str, at: object) -> tuple[int, ...]:
    """``5``, ``"0:3"``, ``[0, 4, 8]``, or a slice."""
    if isinstance(at, slice):
        at = f"{at.start or 0}:{at.stop}"
    if isinstance(at, str) and (match := RANGE.fullmatch(at.replace(" ", ""))):
        at = range(int(match[1]), int(match[2]))
    items: Sequence[Any] = [at] if isinstance(at, int) else at if isinstance(at, list | tuple | range) else ()
    is_short = 0 < len(items) <= MAX_NUMBERS
    if is_short and all(isinstance(i, int) and not isinstance(i, bool) and 0 <= i < MAX_NUMBERS for i in items):
        return tuple(items)
    raise ValueError(
        f"{name}: expected numbers such as 0:3, 5 or [0, 4, 8], all below {MAX_NUMBERS}, got {reprlib.repr(at)}"
    )


def _require_complete(slots: Sequence[Slot]) -> None:
    owners: dict[int, str] = {}
    for slot in slots:
        for index in slot.indices:
            if index in owners:
                raise ValueError(f"number {index} is in {owners[index]} and in {slot.name}")
            owners[index] = slot.name
    missing = sorted(set(range(max(owners, default=0) + 1)) - set(owners))
    if missing:
        raise ValueError(
            f"no quantity has the numbers {reprlib.repr(missing)}; 'scalar' is one that no symmetry changes"
        )


def _require_known(what: str, given: Mapping[Any, Any], known: Sequence[str]) -> None:
    for key in given:
        if key not in known:
            raise ValueError(f"unknown {what}: {key!r}; known are {', '.join(known) or 'none'}")


def _atoms(slot: Slot, robot: Robot, number: int, frame: int, history: int) -> list[Atom]:
    quantity, shift = slot.quantity, number * frame
    indices = tuple(index + shift for index in slot.indices)
    what = slot.name if history == 1 else f"{slot.name}, frame {number}"
    if quantity.is_rotation:
        if len(indices) != 4:
            raise ValueError(f"{slot.name}: expected 4 numbers of a quaternion, got {len(indices)}")
        return [Atom(what, "orientation", "1", "base", indices, is_rotation=True)]
    names = list(quantity.names(robot, slot.options))
    if len(names) != len(indices):
        raise ValueError(
            f"{slot.name}: expected {len(names)} numbers ({quantity.meaning}: {', '.join(names)}), got {len(indices)}"
        )
    measures = quantity.measures(robot, slot.options, len(names))
    return [Atom(what, *measure, name, (index,)) for measure, name, index in zip(measures, names, indices, strict=True)]


def _is_linear(element: RobotSymmetry, matrix: Any) -> bool:  # noqa: ANN401
    try:
        matrix(element)
    except NoLinearMapError:
        return False
    return True
