"""Some of the perturbations of ``scripts/fuzz_robots.py``, always the same ones; the script makes any number."""

import numpy as np
import pytest

from scripts.fuzz_robots import CHANGES, MATTERS, Case, Original, case, cases

pytestmark = pytest.mark.mujoco


@pytest.mark.parametrize(("n_models", "rounds"), [(2, 1), pytest.param(5, 4, marks=pytest.mark.slow)])
def test_what_matters_is_named_and_hardly_anything_else(n_models, rounds):
    found = list(cases(n_models, rounds * len(CHANGES), seed=1))
    assert [c.what for c in found if c.failure == "missed"] == []
    # The comparison does not know what a robot can reach: a foot that never touches anything differs all the same.
    assert sum(c.failure == "false alarm" for c in found) <= len(found) / 20
    assert sum(c.matters > MATTERS for c in found) > rounds * len(CHANGES) / 2
    assert sum(c.matters < MATTERS for c in found) > rounds


def test_the_fuzzer_would_notice(monkeypatch):
    """Negative control: a comparison that is blind to masses misses one, and one that sees colours raises an alarm."""
    from rpp_rl.derive import violations

    rng = np.random.default_rng(0)
    original = Original(rng)
    mass, colour = (next(c for c in CHANGES if c.field == field) for field in ("body_mass", "geom_rgba"))

    def failure(change):
        return {case(original, change, np.random.default_rng(seed)).failure for seed in range(4)}

    assert failure(mass) <= {None}
    monkeypatch.setitem(violations.WITHOUT_EFFECT, "body", {*violations.WITHOUT_EFFECT["body"], "mass"})
    monkeypatch.setitem(violations.WITHOUT_EFFECT, "geom", violations.WITHOUT_EFFECT["geom"] - {"rgba"})
    assert "missed" in failure(mass)
    assert "false alarm" in failure(colour)
    assert Case("", "", 1.0, (), names_the_part=False).failure == "missed"
