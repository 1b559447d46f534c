"""Ball joints that a group exchanges: several quaternions in one block."""

import numpy as np
import pytest
import torch
from scipy.spatial.transform import Rotation

from rpp_rl.envs import Block, Layout, from_rep, to_rep
from rpp_rl.nn import ObsToRep
from rpp_rl.symmetry import cyclic, direct_sum, matrix_rep, sign, trivial

Z2 = cyclic(2)
R, P = trivial(Z2), sign(Z2)
MIRROR = np.diag([1.0, -1.0, 1.0])
EXCHANGE = np.kron([[0.0, 1.0], [1.0, 0.0]], np.kron(MIRROR, MIRROR))
HIPS = matrix_rep(Z2, [EXCHANGE], name="hips")
LAYOUT = Layout((Block("height", (4,), R), Block("hips", (0, 1, 2, 3, 5, 6, 7, 8), HIPS, "rotation_matrix")))


def test_the_matrices_follow_each_other(rng):
    obs = rng.normal(size=(5, 9))
    x = to_rep(LAYOUT, obs)
    for start, quaternion in ((1, obs[:, :4]), (10, obs[:, 5:])):
        expected = Rotation.from_quat(quaternion[:, [1, 2, 3, 0]]).as_matrix().reshape(-1, 9)
        np.testing.assert_allclose(x[:, start : start + 9], expected, atol=1e-12)


def test_back_and_forth(rng):
    obs = rng.normal(size=(2, 5, 9))
    for start in (0, 5):
        quaternion = obs[..., start : start + 4]
        quaternion /= np.linalg.norm(quaternion, axis=-1, keepdims=True) * np.sign(quaternion[..., :1])
    np.testing.assert_allclose(from_rep(LAYOUT, to_rep(LAYOUT, obs)), obs, atol=1e-12)


def test_torch_agrees(rng):
    obs = rng.normal(size=(7, 9))
    x = ObsToRep(LAYOUT)(torch.as_tensor(obs, dtype=torch.get_default_dtype()))
    np.testing.assert_allclose(x.numpy(), to_rep(LAYOUT, obs), atol=1e-5)


def test_the_group_exchanges_and_mirrors_them(rng):
    first, second = Rotation.random(2, random_state=0)
    obs = np.concatenate([first.as_quat()[[3, 0, 1, 2]], [0.3], second.as_quat()[[3, 0, 1, 2]]])
    image = LAYOUT.rep.generators[0] @ to_rep(LAYOUT, obs)
    np.testing.assert_allclose(image[1:10].reshape(3, 3), MIRROR @ second.as_matrix() @ MIRROR, atol=1e-12)


def test_a_part_of_a_quaternion_and_reflections_are_refused():
    with pytest.raises(ValueError, match="rotation_matrix expects 8 indices and a representation of size 18, got 9"):
        Block("hips", tuple(range(9)), HIPS, "rotation_matrix")
    mixed = direct_sum(*(9 * [R]), *(9 * [P]))
    with pytest.raises(ValueError, match="does not map rotations to rotations"):
        Block("hips", tuple(range(8)), mixed, "rotation_matrix")
