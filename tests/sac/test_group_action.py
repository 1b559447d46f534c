"""Random elements acting on batches: against the representation, on every kind of observation."""

import numpy as np
import pytest
import torch
from stable_baselines3.common.type_aliases import ReplayBufferSamples

import envs_reps
from rpp_rl.envs.coordinates import to_rep
from rpp_rl.sac.group_action import GroupAction

SPECS = [
    ("Ant-v4", "D4"),
    ("Ant-v5", "Z2"),
    ("Walker2d-v5", "Z2"),
    ("Humanoid-v4", "Z2"),
    ("rpp_rl/AntCommand-v0", "D4"),
]


def batch_for(spec, n=64, seed=0):
    rng = np.random.default_rng(seed)
    obs, next_obs = rng.normal(size=(2, n, spec.observation.size)).astype(np.float32)
    actions = rng.uniform(-1, 1, (n, spec.action.size)).astype(np.float32)
    tensors = [torch.from_numpy(array) for array in (obs, actions, next_obs)]
    return ReplayBufferSamples(*tensors, torch.zeros(n, 1), torch.zeros(n, 1))


@pytest.mark.parametrize(("env_id", "group"), SPECS)
def test_transitions_move_as_the_representations_say(env_id, group):
    spec = envs_reps.load(env_id, group)
    action, batch = GroupAction(spec), batch_for(spec)
    torch.manual_seed(3)
    moved = action.move(batch)
    torch.manual_seed(3)
    g = action.draw(len(batch.actions)).numpy()
    assert set(g) == set(range(spec.group.order))
    for before, after in ((batch.observations, moved.observations), (batch.next_observations, moved.next_observations)):
        expected = np.einsum("nij,nj->ni", spec.obs_rep.element_matrices[g], to_rep(spec.observation, before.numpy()))
        np.testing.assert_allclose(to_rep(spec.observation, after.numpy()), expected, atol=2e-6)
    expected = np.einsum("nij,nj->ni", spec.action_rep.element_matrices[g], batch.actions.numpy())
    np.testing.assert_allclose(moved.actions, expected, atol=1e-6)
    assert not np.allclose(moved.actions, batch.actions, atol=1e-2)  # negative control: something moves


def test_going_back_is_the_inverse():
    spec = envs_reps.load("rpp_rl/AntCommand-v0")
    batch = batch_for(spec)
    images = GroupAction(spec).images(batch.observations)
    there = images.of_actions(batch.actions)
    torch.testing.assert_close(images.back(there), batch.actions)
    assert not torch.allclose(images.back(images.back(there)), there)  # negative control


@pytest.mark.parametrize(
    ("env_id", "group", "message"),
    [
        ("Ant-v4", "D4xyaw", "finite groups"),
        ("Swimmer-v5", "Z2xZ2", "depends on the observation"),
    ],
)
def test_groups_that_cannot_act_on_a_batch_are_refused(env_id, group, message):
    with pytest.raises(ValueError, match=message):
        GroupAction(envs_reps.load(env_id, group))
