"""Groups as text: names are read back, synonyms agree, and everything else is refused in one line."""

from functools import partial, reduce

import pytest
from hypothesis import event, given, settings
from hypothesis import strategies as st

from rpp_rl.symmetry import (
    cyclic,
    dihedral,
    dihedral_permutation,
    orthogonal,
    parse_group,
    product,
    pseudo_orthogonal,
    special_linear,
    special_orthogonal,
    symmetric,
    trivial_group,
)
from tests.kit.symmetry_oracles import GROUPS, KNOWN

FACTORS = st.one_of(
    st.just((trivial_group, ())),
    st.tuples(st.sampled_from([cyclic, dihedral]), st.tuples(st.integers(1, 12))),
    st.tuples(st.just(dihedral_permutation), st.tuples(st.integers(3, 8))),
    st.tuples(st.just(symmetric), st.tuples(st.integers(1, 5))),
    st.tuples(st.sampled_from([special_orthogonal, orthogonal, special_linear]), st.tuples(st.integers(2, 4))),
    st.tuples(
        st.sampled_from([pseudo_orthogonal, partial(pseudo_orthogonal, special=False)]),
        st.tuples(st.integers(1, 3), st.integers(1, 3)),
    ),
)


@settings(max_examples=40)
@given(st.lists(FACTORS, min_size=1, max_size=3))
def test_name_is_read_back(factors):
    group = reduce(product, [make(*numbers) for make, numbers in factors])
    back = parse_group(str(group))
    assert back == group
    assert str(back) == str(group)


@pytest.mark.parametrize(
    ("texts", "group"),
    [
        (("Z4", "C4", "Z(4)", " Z( 4 ) "), cyclic(4)),
        (("D4", "D(4)"), dihedral(4)),
        (("D4perm", "D(4)perm", "D(4) perm"), dihedral_permutation(4)),
        (("SO(1,3)", "SO( 1 , 3 )"), pseudo_orthogonal(1, 3)),
        (("O(2,1)",), pseudo_orthogonal(2, 1, special=False)),
        (("Z2xS3", "Z2 x S3", "Z2×S(3)"), product(cyclic(2), symmetric(3))),
        (("1",), trivial_group()),
    ],
)
def test_synonyms_agree(texts, group):
    for text in texts:
        assert parse_group(text) == group


@pytest.mark.parametrize(
    "text",
    [
        "",
        "Q8",
        "Z",
        "z4",
        "Z4)",
        "Z(4",
        "Z-1",
        "Z4.5",
        "D(4,2)",
        "SO1,3",
        "Z4perm",
        "O(1,3)perm",
        "Z2x",
        "xZ2",
        "2",
        "Z٤",
    ],
)
def test_nonsense_is_refused_with_the_known_names(text):
    with pytest.raises(ValueError, match=r"unknown group .* known are") as error:
        parse_group(text)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("Z0", "Z.n.: n must be at least 1, got 0"),
        ("D0", "at least 1"),
        ("D2perm", "at least 3"),
        ("SO1", "at least 2"),
        ("SL(1)", "at least 2"),
        ("SO(0,3)", "at least 1, got 0"),
        ("O(3,0)", "at least 1, got 0"),
        ("Z40000", "too large"),
        ("S999999999999", "too large"),
        ("SO(3,400)", "too large"),
        ("Z2xSO100", "too large"),
    ],
)
def test_wrong_numbers_are_named(text, message):
    with pytest.raises(ValueError, match=message):
        parse_group(text)


@given(st.text(alphabet="ZCDSOL0123456789(),x× perm", max_size=8))
def test_any_text_is_a_group_or_a_clear_error(text):
    try:
        group = parse_group(text)
    except ValueError:
        event("refused")
    else:
        event("read")
        assert parse_group(str(group)) == group


@pytest.mark.parametrize("text", GROUPS)
def test_str_is_the_name_and_repr_tells_more(text):
    group = KNOWN[text]
    assert str(group) == group.name == text
    assert repr(group).startswith(f"Group({text}, d={group.d}")
