"""The grammar of representations: what a text means, and that anything else is refused in one line."""

import pytest
from hypothesis import event, given, settings
from hypothesis import strategies as st

from rpp_rl.symmetry import dihedral, direct_sum, irrep, parse_rep, regular, sign, special_linear, trivial, vector
from rpp_rl.symmetry.text import MAX_LENGTH
from tests.kit.symmetry_oracles import KNOWN, typed_pairs

D4, SL2 = dihedral(4), special_linear(2)
R, P, V = trivial(D4), sign(D4), vector(D4)
L, L_DUAL = vector(SL2), vector(SL2).dual()


@pytest.mark.parametrize(
    ("text", "rep"),
    [
        ("R", R),
        ("scalar", R),
        ("P", P),
        ("V", V),
        ("regular", regular(D4)),
        ("irrep(1)", irrep(D4, 1)),
        ("irrep( 2 )", irrep(D4, 2)),
        ("T(0,0)", R),
        ("T(1,0)", V),
        ("T( 2 , 1 )", V * V * V),
        ("3", 3 * R),
        ("1", R),
        ("3*V", 3 * V),
        ("V*3", 3 * V),
        ("2*3*V", 6 * V),
        ("2*V*2", 4 * V),
        ("(2)*V", 2 * V),
        ("2*V + 3*R", 2 * V + 3 * R),
        ("  2 *V+\t3* R ", 2 * V + 3 * R),
        ("R + 2*V + P", R + 2 * V + P),
        ("P*V", P * V),
        ("V*V", V * V),
        ("V^2", V * V),
        ("V^3", (V * V) * V),
        ("V*V^2", V * (V * V)),
        ("2*V^2", 2 * (V * V)),
        ("V^1", V),
        ("2*(V + R)", V + R + V + R),
        ("(V + R)*P", V * P + R * P),
        ("V*(2*V)", V * (2 * V)),
        ("((V))", V),
        ("V'", V),
        ("1 + V", R + V),
    ],
)
def test_meaning(text, rep):
    assert parse_rep(text, D4) == rep


@pytest.mark.parametrize(
    ("text", "rep"),
    [
        ("V'", L_DUAL),
        ("T(0,1)", L_DUAL),
        ("T(1,1)", L * L_DUAL),
        ("T(2,1)", L * L * L_DUAL),
        ("T(0,2)", L_DUAL * L_DUAL),
        ("V*V'", L * L_DUAL),
        ("(V*V)'", (L * L).dual()),
        ("V'^2", L_DUAL * L_DUAL),
        ("V^2'", (L * L).dual()),
        ("2*V' + V", 2 * L_DUAL + L),
    ],
)
def test_duals_bind_to_their_factor(text, rep):
    assert parse_rep(text, SL2) == rep
    assert L != L_DUAL


@settings(max_examples=25)
@given(typed_pairs())
def test_sums_products_and_multiples_compose(pair):
    group, first, second = pair
    a, b = parse_rep(first, group), parse_rep(second, group)
    assert parse_rep(f"{first} + {second}", group) == direct_sum(a, b)
    assert parse_rep(f"({first})*({second})", group) == a * b
    assert parse_rep(f"3*({first})", group) == 3 * a
    assert parse_rep(f"({first})'", group) == a.dual()
    assert parse_rep(f"({first})^2", group) == a * a


@settings(max_examples=25)
@given(typed_pairs())
def test_spaces_mean_nothing(pair):
    group, text, _ = pair
    spaced = " " + "".join(f" {c} " if c in "+*^'()" else c for c in text)
    assert parse_rep(spaced.replace("T (", "T("), group) == parse_rep(text, group)
    tight = text.replace(" ", "")
    assert parse_rep(tight, group) == parse_rep(text, group)


@pytest.mark.parametrize(
    ("text", "place"),
    [
        ("", "the end"),
        ("V +", "the end"),
        ("+ V", "+"),
        ("V V", "V"),
        ("2V", "V"),
        ("2 3", "3"),
        ("V + + V", "+"),
        ("V *", "the end"),
        ("(V", "the end"),
        ("V)", ")"),
        ("()", ")"),
        ("(V + R", "the end"),
        ("W", "W"),
        ("v", "v"),
        ("V - R", "- R"),
        ("vector", "vector"),
        ("0*V", "0"),
        ("V^0", "0"),
        ("V^", "^"),
        ("V^V", "^"),
        ("V^-1", "-1"),
        ("2^2", "^"),
        ("'V", "'"),
        ("T", "T"),
        ("T(1)", "T(1)"),
        ("T(1,)", "T(1,)"),
        ("irrep", "irrep"),
        ("irrep(-1)", "irrep(-1)"),
        ("irrep()", "irrep()"),
        ("3.5*V", ".5*V"),
        ("V; import os", "; import os"),
        ("V²", "²"),
        ("٣*V", "٣*V"),
        ("scalars", "s"),
    ],
)
def test_nonsense_is_refused_at_its_place(text, place):
    with pytest.raises(ValueError, match="cannot read the representation") as error:
        parse_rep(text, D4)
    assert f"at {place!r};" in str(error.value)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("999999999999*V", "the number 999999999999 .* is too large"),
        ("V^99999999", "too large"),
        ("T(0,99999999)", "too large"),
        ("irrep(99999999)", "too large"),
        ("V^13", "would have size"),
        ("5000*V", "would have size"),
        ("70*70*V", "would have size"),
        ("irrep(5)", r"has no irreducible representation irrep\(5\)"),
        ("(" * 300 + "V" + ")" * 300, "40 parentheses"),
        ("+".join(["V"] * MAX_LENGTH), "1000 characters"),
    ],
)
def test_too_much_is_refused(text, message):
    with pytest.raises(ValueError, match=message) as error:
        parse_rep(text, D4)
    assert len(str(error.value)) < 200


def test_rep_that_the_group_does_not_have_is_refused():
    with pytest.raises(ValueError, match="SO3 is infinite"):
        parse_rep("2*V + regular", KNOWN["SO3"])


@given(st.text(alphabet="RPVT(,)123*+^' ", max_size=10))
def test_any_text_is_a_rep_or_a_clear_error(text):
    try:
        rep = parse_rep(text, D4)
    except ValueError:
        event("refused")
    else:
        event("read")
        assert parse_rep(rep.name, D4) == rep
