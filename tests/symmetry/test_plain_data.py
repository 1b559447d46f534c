"""Representations as JSON values: the same numbers come back, and broken data are refused."""

import json

import numpy as np
import pytest
from hypothesis import given, settings

from rpp_rl.symmetry import (
    dihedral,
    group_from_dict,
    group_to_dict,
    parse_group,
    parse_rep,
    regular,
    rep_from_dict,
    rep_to_dict,
    sign,
    signed_permutation,
    trivial,
    trivial_group,
    vector,
)
from tests.kit.symmetry_oracles import typed_pairs

D4 = dihedral(4)
LEGS = signed_permutation(D4, [[1, 0], [0, 1]], [[-1, 1], [1, -1]], name="legs")


def through_json(rep, group=None):
    return rep_from_dict(json.loads(json.dumps(rep_to_dict(rep))), rep.group if group is None else group)


@settings(max_examples=30)
@given(typed_pairs())
def test_round_trip_is_exact(pair):
    group, text, _ = pair
    rep = parse_rep(text, group)
    for original in (rep, rep.whole()):
        back = through_json(original, group_from_dict(json.loads(json.dumps(group_to_dict(group)))))
        assert back == original
        assert back.name == original.name
        assert [part.name for _, part in back.parts] == [part.name for _, part in original.parts]
        np.testing.assert_array_equal(back.generators, original.generators)


@pytest.mark.parametrize("text", ["1", "SO3", "O3", "Z2", "D3"])
def test_every_kind_of_group_keeps_size_and_split(text):
    group = parse_group(text)
    rep = 3 * trivial(group) + vector(group) * vector(group)
    assert through_json(rep).parts == rep.parts


def test_signed_permutations_are_written_as_lists():
    assert rep_to_dict(2 * LEGS) == {
        "parts": [
            {
                "count": 2,
                "name": "legs",
                "size": 2,
                "perms": [[1, 0], [0, 1]],
                "signs": [[-1, 1], [1, -1]],
            }
        ]
    }
    assert "generators" in rep_to_dict(vector(dihedral(3)))["parts"][0]


def test_rep_of_another_group_is_refused():
    with pytest.raises(ValueError, match="legs does not represent D3"):
        through_json(LEGS, dihedral(3))
    with pytest.raises(ValueError, match="2 permutations"):
        through_json(LEGS, parse_group("Z2"))
    with pytest.raises(ValueError, match="generators"):
        through_json(LEGS, trivial_group())


def broken(rep, **change):
    data = rep_to_dict(rep)
    data["parts"][0].update(change)
    data["parts"][0] = {key: value for key, value in data["parts"][0].items() if value is not None}
    return data


@pytest.mark.parametrize(
    ("data", "message"),
    [
        ({}, "a representation needs the keys parts; missing: parts"),
        ({"parts": []}, "at least one part"),
        (broken(LEGS, signs=[[1, 1], [1, -1]]), "legs does not represent D4"),
        (broken(LEGS, signs=[[3, 1], [1, -1]]), "signs must be 1 or -1"),
        (broken(LEGS, perms=[[1, 1], [0, 1]]), "expected permutations"),
        (broken(LEGS, perms=[[1.5, 0], [0, 1]]), "expected permutations"),
        (broken(LEGS, perms=[["b", "a"], [0, 1]]), "expected permutations"),
        (broken(LEGS, size=3), "legs: expected matrices of size 3, got 2"),
        (broken(LEGS, count=0), "positive count"),
        (broken(LEGS, name=None, count=None), "missing: count, name"),
        (broken(LEGS, signs=None), "missing: signs"),
        (broken(vector(dihedral(3)), size=4), r"expected matrices of shape \(4, 4\), got \(2, 2\)"),
        (broken(vector(dihedral(3)), generators=[[[2.0]], [[1.0]]], size=1), "V does not represent D4"),
        (broken(vector(dihedral(3)), generators=None), "missing: generators"),
        (broken(vector(dihedral(3))), "V does not represent D4"),
        (broken(vector(dihedral(3)), generators=[[[float("nan")]], [[1.0]]], size=1), "finite"),
    ],
)
def test_broken_data_are_refused(unchecked_shapes, data, message):
    with pytest.raises(ValueError, match=message):
        rep_from_dict(data, D4)


def test_numbers_may_come_back_as_floats(unchecked_shapes):
    assert rep_from_dict(broken(LEGS, perms=[[1.0, 0.0], [0.0, 1.0]], count=1.0), D4) == LEGS


def test_parts_that_are_equal_by_content_become_one_run():
    data = {"parts": rep_to_dict(regular(D4))["parts"] * 2 + rep_to_dict(sign(D4))["parts"]}
    assert rep_from_dict(data, D4) == 2 * regular(D4) + sign(D4)
