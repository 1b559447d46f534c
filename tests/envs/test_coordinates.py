import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy.spatial.transform import Rotation

from rpp_rl.envs import Block, Layout, from_rep, to_rep
from rpp_rl.nn import ObsToRep
from rpp_rl.symmetry import cyclic, dihedral, sign, trivial, vector

D4 = dihedral(4)
R, P, V = trivial(D4), sign(D4), vector(D4)
WORLD, BODY = R + P + R, V + R
FLOATING = Layout(
    (
        Block("legs", (7, 0, 6), BODY),
        Block("orientation", (1, 2, 3, 4), WORLD * BODY, "rotation_matrix"),
        Block("height", (5,), R),
    )
)
SCATTERED = Layout(
    (
        Block("first orientation", (6, 1, 3, 9), WORLD * BODY, "rotation_matrix"),
        Block("numbers", (8, 0), V),
        Block("second orientation", (7, 2, 5, 4), WORLD * BODY, "rotation_matrix"),
    )
)
Z1 = cyclic(1)
MIDDLE_LINK = Layout((Block("swimmer", tuple(range(8)), 8 * trivial(Z1), "middle_link"),))
ORDERED = Layout((Block("numbers", (0, 1, 2), BODY),))
PERMUTED = Layout((Block("numbers", (2, 0, 1), BODY),))
LAYOUTS = {
    "floating": FLOATING,
    "scattered": SCATTERED,
    "middle link": MIDDLE_LINK,
    "identity": ORDERED,
    "permuted": PERMUTED,
}
layouts = pytest.mark.parametrize("layout", LAYOUTS.values(), ids=LAYOUTS.keys())

numbers = st.floats(-3, 3).map(lambda x: round(x, 3))
quaternions = arrays(np.float64, 4, elements=numbers).filter(lambda q: np.linalg.norm(q) > 0.1)


def observations(layout, rng, n=64):
    return rng.normal(size=(n, layout.size))


@given(quaternions)
def test_rotation_matrix_is_scipys(q):
    obs = np.concatenate([[0.0], q, np.zeros(3)])
    expected = Rotation.from_quat(q / np.linalg.norm(q), scalar_first=True).as_matrix()
    np.testing.assert_allclose(to_rep(FLOATING, obs)[3:12].reshape(3, 3), expected, atol=1e-12)


@given(quaternions)
def test_quaternion_comes_back_with_unit_length_and_positive_w(q):
    obs = np.concatenate([[0.5], q, [1.0, 2.0, 3.0]])
    back = from_rep(FLOATING, to_rep(FLOATING, obs))
    unit = q / np.linalg.norm(q)
    np.testing.assert_allclose(back[1:5] * np.sign(back[1:5] @ unit), unit, atol=1e-12)
    assert back[1] >= -1e-12
    np.testing.assert_array_equal(back[[0, 5, 6, 7]], obs[[0, 5, 6, 7]])


def test_a_matrix_that_is_no_rotation_gives_the_nearest_one(rng):
    rotation = Rotation.random(rng=rng).as_matrix()
    noisy = rotation + 1e-3 * rng.normal(size=(3, 3))
    u, _, vt = np.linalg.svd(noisy)
    q = from_rep(FLOATING, np.concatenate([np.zeros(3), noisy.ravel(), [0.0]]))[1:5]
    np.testing.assert_allclose(Rotation.from_quat(q, scalar_first=True).as_matrix(), u @ vt, atol=1e-12)


def test_a_quaternion_of_length_zero_gives_no_nan():
    assert np.isfinite(to_rep(FLOATING, np.zeros(8))).all()
    assert torch.isfinite(ObsToRep(FLOATING)(torch.zeros(2, 8))).all()


def test_half_turns_keep_a_defined_sign():
    half_turn = np.array([0.0, 0, 0, 0, -1.0, 0, 0, 0])
    np.testing.assert_allclose(from_rep(FLOATING, to_rep(FLOATING, half_turn))[1:5], [0, 0, 0, 1], atol=1e-12)


@layouts
def test_coordinates_determine_the_observation(layout, rng):
    x = to_rep(layout, observations(layout, rng))
    np.testing.assert_allclose(to_rep(layout, from_rep(layout, x)), x, atol=1e-10)


@layouts
def test_module_computes_the_same_in_both_precisions(layout, rng, dtype, tolerance):
    obs = observations(layout, rng)
    x = ObsToRep(layout)(torch.as_tensor(obs, dtype=dtype))
    assert x.dtype == dtype
    np.testing.assert_allclose(x.numpy(), to_rep(layout, obs), rtol=tolerance, atol=tolerance)


@layouts
def test_batch_axes_lead(layout, rng):
    obs = observations(layout, rng).reshape(4, 2, 8, layout.size)
    assert to_rep(layout, obs).shape == (4, 2, 8, layout.rep.size)
    assert from_rep(layout, to_rep(layout, obs)).shape == obs.shape
    assert ObsToRep(layout)(torch.as_tensor(obs[0, 0, 0], dtype=torch.float32)).shape == (layout.rep.size,)


@layouts
def test_module_is_traceable_and_has_no_state(layout, rng):
    module = ObsToRep(layout)
    assert not list(module.parameters())
    assert not module.state_dict()
    obs = torch.as_tensor(observations(layout, rng), dtype=torch.float32)
    compiled = torch.compile(module, fullgraph=True, backend="eager")
    torch.testing.assert_close(compiled(obs), module(obs))


def test_an_observation_in_order_is_passed_through():
    obs = torch.randn(5, 3)
    assert ObsToRep(ORDERED)(obs) is obs


def moved(q, world, body):
    """The quaternion of g R sᵀ for proper rotations g and s, by composing them (another path than the 9 x 9 matrix)."""
    return (world * Rotation.from_quat(q, scalar_first=True) * body.inv()).as_quat(scalar_first=True)


def test_group_acts_linearly_on_the_coordinates(rng):
    """The quarter turn of the body: right for s = +90°, and the control with s = -90° must fail."""
    q = Rotation.random(20, rng=rng).as_quat(scalar_first=True)
    before, after, wrong = (np.zeros((20, 8)) for _ in range(3))
    quarter = Rotation.from_euler("z", 90, degrees=True)
    before[:, 1:5] = q
    after[:, 1:5] = moved(q, Rotation.identity(), quarter)
    wrong[:, 1:5] = moved(q, Rotation.identity(), quarter.inv())
    image = to_rep(FLOATING, before) @ FLOATING.rep.generators[0].T
    np.testing.assert_allclose(to_rep(FLOATING, after), image, atol=1e-12)
    assert np.abs(to_rep(FLOATING, wrong) - image).max() > 0.5


def test_middle_link_moves_with_the_center_of_the_middle_link(rng):
    """The joint between the first two links is half a metre before the root; the middle link reaches one metre back."""
    theta, j1, j2, vx, vy, omega, w1, w2 = obs = rng.normal(size=8)

    def center(t):
        first, middle = theta + omega * t, theta + j1 + (omega + w1) * t
        along = [np.array([np.cos(angle), np.sin(angle)]) for angle in (first, middle)]
        return t * np.array([vx, vy]) + 0.5 * along[0] - 0.5 * along[1]

    velocity = (center(1e-6) - center(-1e-6)) / 2e-6
    expected = [theta + j1, -j1, j2, *velocity, omega + w1, -w1, w2]
    np.testing.assert_allclose(to_rep(MIDDLE_LINK, obs), expected, atol=1e-8)
