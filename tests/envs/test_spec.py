import dataclasses
import json

import numpy as np
import pytest
from gymnasium.spaces import Box, Dict
from hypothesis import given
from hypothesis import strategies as st

from rpp_rl.envs import Block, EnvSpec, Generator, Layout
from rpp_rl.symmetry import (
    Element,
    Group,
    Rep,
    cyclic,
    dihedral,
    orthogonal,
    sign,
    signed_permutation,
    trivial,
    vector,
)

D4 = dihedral(4)
R, P, V = trivial(D4), sign(D4), vector(D4)
WORLD, BODY = R + P + R, V + R
LEGS = signed_permutation(D4, [[3, 0, 1, 2], [3, 2, 1, 0]], [[1, 1, 1, 1], [-1, -1, -1, -1]], name="legs")
RECORDS = (Generator("r", "a quarter turn", True), Generator("f", "a reflection", True, 0.01, 0.1, 0.5, 2, "weak"))


def robot(**changes):
    """A made-up robot: height, orientation, angular velocity, four legs in an order of their own."""
    observation = Layout(
        (
            Block("legs [rad]", (8, 1, 10, 9), LEGS),
            Block("orientation", (2, 3, 4, 5), WORLD * BODY, "rotation_matrix"),
            Block("height [m]", (0,), R),
            Block("angular velocity [rad/s]", (11, 6, 7), P * BODY),
        )
    )
    fields = {
        "env_id": "Robot-v0",
        "variant": "D4",
        "group": D4,
        "observation": observation,
        "action": Layout((Block("torques", (2, 0, 3, 1), LEGS),)),
        "generators": RECORDS,
    }
    return EnvSpec(**{**fields, **changes})


def test_layout_concatenates_the_blocks():
    layout = robot().observation
    assert layout.size == 12
    assert layout.rep.size == 4 + 9 + 1 + 3
    assert [layout.rep.generators[0][where, where].shape[0] for where in layout.slices] == [4, 9, 1, 3]
    assert layout.block_of(10).name == "legs [rad]"


def test_every_index_exactly_once():
    with pytest.raises(ValueError, match=r"index 1 is in block 'b' and in block 'a'"):
        Layout((Block("a", (0, 1), 2 * R), Block("b", (1, 2), 2 * R)))
    with pytest.raises(ValueError, match=r"missing are \[1\]"):
        Layout((Block("a", (0, 2), 2 * R),))
    with pytest.raises(ValueError, match="exactly once"):
        Layout(())


def test_a_block_needs_a_representation_of_its_size():
    with pytest.raises(ValueError, match=r"block 'x': identity expects 1 indices .* got 2"):
        Block("x", (0, 1), R)
    with pytest.raises(ValueError, match="rotation_matrix expects 4 indices and a representation of size 9"):
        Block("q", (0, 1, 2), WORLD * BODY, "rotation_matrix")
    with pytest.raises(ValueError, match="known are identity, rotation_matrix, middle_link"):
        Block("q", (0,), R, "euler")


def test_reflecting_the_world_alone_is_refused():
    """R' = g R sᵀ is a rotation only if det g = det s."""
    with pytest.raises(ValueError, match="does not map rotations to rotations"):
        Block("q", (0, 1, 2, 3), WORLD * (3 * R), "rotation_matrix")
    with pytest.raises(ValueError, match="does not map rotations to rotations"):
        Block("q", (0, 1, 2, 3), 9 * P, "rotation_matrix")
    Block("q", (0, 1, 2, 3), (3 * R) * (3 * R), "rotation_matrix")


def test_blocks_of_two_groups_are_refused():
    with pytest.raises(ValueError, match="one group"):
        Layout((Block("a", (0,), R), Block("b", (1,), trivial(cyclic(2)))))
    with pytest.raises(ValueError, match="belongs to D4, not to Z2"):
        robot(group=cyclic(2), generators=RECORDS[:1])


def test_relations_are_checked_even_where_a_rep_was_not():
    broken = Rep("broken", D4, LEGS.generators * np.array([1, 1, 1, -1])[:, None], LEGS.lie_algebra)
    with pytest.raises(ValueError, match="broken does not represent D4"):
        robot(action=Layout((Block("torques", (2, 0, 3, 1), broken),)))


def test_relations_among_reflections_of_an_infinite_group_are_checked():
    o2 = orthogonal(2)
    broken = Rep("broken", o2, 2 * np.ones((1, 1, 1)), np.zeros((1, 1, 1)))
    layout = Layout((Block("a", (0,), broken),))
    with pytest.raises(ValueError, match="broken does not represent O2"):
        EnvSpec("Robot-v0", "O2", o2, layout, Layout((Block("u", (0,), trivial(o2)),)), RECORDS)


def test_actions_must_be_signed_permutations():
    d3 = dihedral(3)
    with pytest.raises(ValueError, match="actions can only be permuted and change sign"):
        EnvSpec(
            "Robot-v0",
            "D3",
            d3,
            Layout((Block("a", (0, 1), vector(d3)),)),
            Layout((Block("u", (0, 1), vector(d3)),)),
            RECORDS,
        )


def test_every_generator_has_a_record():
    with pytest.raises(ValueError, match="D4 has 2 generators, got records for 1"):
        robot(generators=RECORDS[:1])


@given(st.permutations(range(4)))
def test_action_rep_acts_in_the_environments_order(order):
    spec = robot(action=Layout((Block("torques", tuple(order), LEGS),)))
    action = np.arange(1.0, 5.0)
    for g in D4.elements:
        image = spec.action_rep.rho(g) @ action
        np.testing.assert_array_equal(image[list(order)], LEGS.rho(g) @ action[list(order)])
    assert spec.action_rep.is_signed_permutation


def test_action_rep_keeps_its_summands_when_the_order_is_the_environments():
    spec = robot(action=Layout((Block("hips", (0, 1, 2, 3), LEGS), Block("ankles", (4, 5, 6, 7), LEGS))))
    assert spec.action_rep == 2 * LEGS


def test_plain_data_round_trip_is_exact():
    spec = robot()
    text = json.dumps(spec.to_dict())
    loaded = EnvSpec.from_dict(json.loads(text))
    assert loaded == spec
    assert hash(loaded) == hash(spec)
    assert json.dumps(loaded.to_dict()) == text
    assert loaded != robot(variant="other")


def test_infinite_groups_round_trip():
    o2 = orthogonal(2)
    planar = Layout((Block("velocity [m/s]", (1, 0), vector(o2)), Block("spin [rad/s]", (2,), sign(o2))))
    spec = EnvSpec("Disc-v0", "O2", o2, planar, Layout((Block("u", (0,), sign(o2)),)), RECORDS)
    assert EnvSpec.from_dict(json.loads(json.dumps(spec.to_dict()))) == spec


@pytest.mark.parametrize("key", list(robot().to_dict()))
def test_damaged_data_is_refused_by_name(key):
    data = robot().to_dict()
    del data[key]
    with pytest.raises(ValueError, match="environment specification"):
        EnvSpec.from_dict(data)


def test_foreign_and_tampered_data_are_refused():
    with pytest.raises(ValueError, match="got 'list'"):
        EnvSpec.from_dict([])
    data = robot().to_dict()
    with pytest.raises(ValueError, match="format 1, got 99"):
        EnvSpec.from_dict({**data, "format": 99})
    data["reps"][0]["parts"][0]["signs"][0][0] = -1
    with pytest.raises(ValueError, match="does not represent D4"):
        EnvSpec.from_dict(data)


def test_restriction_keeps_the_matrices_and_the_evidence():
    spec = robot()
    turned = spec.restrict("Z4", [(0,)], cyclic(4))
    flipped = spec.restrict("Z2", [(1,)])
    assert turned.group == cyclic(4)
    assert turned.generators == RECORDS[:1]
    assert flipped.generators == RECORDS[1:]
    np.testing.assert_array_equal(turned.obs_rep.generators[0], spec.obs_rep.generators[0])
    np.testing.assert_array_equal(flipped.action_rep.generators[0], spec.action_rep.generators[1])
    assert str(turned) == "Robot-v0/Z4"


def test_restriction_to_a_product_of_generators():
    diagonal = robot().restrict("Z2d", [(1, 0)])
    assert diagonal.group.order == 2
    assert diagonal.generators[0].name == "f·r"
    assert diagonal.generators[0].keeps_reward
    np.testing.assert_array_equal(diagonal.obs_rep.generators[0], robot().obs_rep.rho(Element((1, 0), ())))


def test_restriction_refuses_another_group():
    with pytest.raises(ValueError, match="generate 4 elements, Z2 has 2"):
        robot().restrict("Z2", [(0,)], cyclic(2))
    klein = matrix_group(np.diag([1.0, -1.0, 1.0]), np.diag([-1.0, 1.0, 1.0]))
    with pytest.raises(ValueError, match="does not represent"):
        robot().restrict("Klein", [(0,), (0, 0)], klein)


def matrix_group(*generators):
    d = len(generators[0])
    return Group("klein", np.array(generators), np.zeros((0, d, d)))


def test_spaces_that_fit_are_accepted():
    robot().check_spaces(Box(-np.inf, np.inf, (12,)), Box(-0.4, 0.4, (4,)))


def test_spaces_of_another_size_are_refused():
    action = Box(-1, 1, (4,))
    with pytest.raises(ValueError, match="block 'legs \\[rad\\]' would reach beyond the end"):
        robot().check_spaces(Box(-1, 1, (10,)), action)
    with pytest.raises(ValueError, match="no block holds the numbers from 12 on"):
        robot().check_spaces(Box(-1, 1, (14,)), action)
    with pytest.raises(ValueError, match="does not fit the observation space"):
        robot().check_spaces(Dict(x=action), action)
    with pytest.raises(ValueError, match="does not fit the action space"):
        robot().check_spaces(Box(-1, 1, (12,)), Box(-1, 1, (5,)))


def test_actions_without_bounds_are_refused():
    with pytest.raises(ValueError, match="needs actions with finite bounds"):
        robot().check_spaces(Box(-1, 1, (12,)), Box(-np.inf, np.inf, (4,)))


def test_bounds_that_the_group_does_not_preserve_are_refused():
    observation = Box(-1, 1, (12,))
    high = np.array([1, 1, 2, 1], dtype=np.float32)
    with pytest.raises(ValueError, match=r"the bounds of action . in block 'torques'.* under r"):
        robot().check_spaces(observation, Box(-high, high))
    with pytest.raises(ValueError, match=r"the bounds of action . in block 'torques'.* under f"):
        robot().check_spaces(observation, Box(-1, 2, (4,)))


def test_kinds_units_and_labels_say_what_each_coordinate_is():
    mixed = Block(
        "height and pitch", (0, 1), 2 * R, kind=("position", "angle"), unit=("m", "rad"), labels=("z", "pitch")
    )
    assert mixed.title == "height and pitch [m, rad]"
    assert (mixed.kinds, mixed.units) == (("position", "angle"), ("m", "rad"))
    part = mixed.part([1], R)
    assert (part.indices, part.kinds, part.units, part.labels) == ((1,), ("angle",), ("rad",), ("pitch",))
    assert Block("flag", (0,), R, unit="1").title == "flag"
    with pytest.raises(ValueError, match=r"block 'x': expected 2 units, got 3"):
        Block("x", (0, 1), 2 * R, unit=("m", "m", "m"))
    with pytest.raises(ValueError, match=r"block 'x': unknown kind 'angel', known are angle"):
        Block("x", (0, 1), 2 * R, kind="angel")
    with pytest.raises(ValueError, match=r"block 'x': expected labels that are text"):
        Block("x", (0,), R, labels=(1,))


def test_specifications_of_before_carry_the_unit_in_the_name():
    spec = robot()
    data = spec.to_dict()
    for block in data["observation"]:
        for key in ("kind", "unit", "labels"):
            del block[key]
    words = [(block.name, block.kind, block.unit) for block in EnvSpec.from_dict(data).observation.blocks]
    assert words == [
        ("legs", "angle", "rad"),
        ("orientation", "", ""),
        ("height", "position", "m"),
        ("angular velocity", "rate", "rad/s"),
    ]


def test_specifications_of_before_name_the_errors_otherwise():
    spec = robot()
    measured = dataclasses.replace(spec.generators[0], error_1_step=0.1, error_20_steps=0.3)
    spec = dataclasses.replace(spec, generators=(measured, *spec.generators[1:]))
    data = spec.to_dict()
    for record in data["generators"]:
        record["inc_1"], record["inc_20"] = record.pop("error_1_step"), record.pop("error_20_steps")
    assert EnvSpec.from_dict(data) == spec
    record["inc_2"] = 0.0
    with pytest.raises(ValueError, match="inc_2"):
        EnvSpec.from_dict(data)
