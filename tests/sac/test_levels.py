"""A level between both pathways of an agent: what it commutes with, how it decays, and how such an agent learns."""

import numpy as np
import pytest
import torch

import envs_reps
from rpp_rl.nn import ChainLinear, pathways
from rpp_rl.nn.chain import chain_levels
from rpp_rl.sac import RPPSAC
from tests.kit.agents import visited

pytestmark = pytest.mark.mujoco

SMALL = {"learning_starts": 50, "buffer_size": 1000, "batch_size": 32, "device": "cpu", "seed": 0}


def make_agent(mode="rpp", subgroup=("f",), policy=None, **kwargs):
    spec = envs_reps.load("Ant-v4", "D4").to_dict()
    policy_kwargs = {"spec": spec, "mode": mode, "net_arch": [16, 16], "subgroup": list(subgroup), **(policy or {})}
    return RPPSAC("RPPPolicy", "Ant-v4", policy_kwargs=policy_kwargs, **{**SMALL, **kwargs})


def asymmetry(agent, group):
    """How far the mean action is from equivariant, relative to its size."""
    spec = envs_reps.load("Ant-v4", group)
    obs = torch.as_tensor(visited("Ant-v4"), dtype=torch.float32)
    from rpp_rl.sac.group_action import GroupAction

    torch.manual_seed(0)
    images = GroupAction(spec).images(obs)
    with torch.no_grad():
        mean, moved = (agent.actor.get_action_dist_params(o)[0] for o in (obs, images.observations))
        return float((moved - images.of_actions(mean)).norm() / mean.norm())


def test_levels_commute_with_the_subgroup_alone():
    agent = make_agent()
    layers = [m for m in agent.policy.modules() if isinstance(m, ChainLinear)]
    assert len(layers) == 4 + 3, "of the actor with its two heads, and of the critics; targets are merged"
    assert asymmetry(agent, "D4") < 1e-4
    with torch.no_grad():
        for layer in layers:
            for level in chain_levels(layer):
                level.equiv_weight.normal_(std=0.3)
    assert asymmetry(agent, "Z2") < 1e-4
    assert asymmetry(agent, "D4") > 0.1, "control"


def test_an_agent_with_levels_learns_by_the_plain_update_and_survives_saving(tmp_path):
    agent = make_agent()
    assert not agent.learns_fast
    assert make_agent(subgroup=()).learns_fast
    before = [level.parameters[0].clone() for level in pathways(agent.actor).levels]
    agent.learn(60)
    after = [level.parameters[0] for level in pathways(agent.actor).levels]
    assert all((a != b).any() for a, b in zip(after, before, strict=True))
    agent.save(tmp_path / "agent.zip")
    obs = visited("Ant-v4")[:8]
    actions = [a.predict(obs, deterministic=True)[0] for a in (agent, RPPSAC.load(tmp_path / "agent.zip"))]
    np.testing.assert_array_equal(*actions)


def test_levels_decay_more_slowly_than_the_residual_pathway():
    groups = make_agent(policy={"subgroup_decay": 0.25}, actor_residual_decay=8.0).actor.optimizer.param_groups
    assert [group["weight_decay"] for group in groups] == [0.0, 8.0, 2.0]
    groups = make_agent(actor_residual_decay=None).actor.optimizer.param_groups
    assert [group["weight_decay"] for group in groups] == [0.0]


@pytest.mark.parametrize(
    ("kwargs", "message"),
    [
        ({"subgroup": ("f", "m")}, "subgroup: the generators of Ant-v4/D4 are r, f; got m"),
        ({"subgroup": ("f",) * 10**5}, "subgroup: expected each generator once, got 100000 of 1"),
        ({"mode": "emlp"}, "soft networks alone have levels, got mode 'emlp'"),
        ({"actor_residual_var": 1.0}, "levels decay, and have no variance"),
    ],
)
def test_what_has_no_levels_is_refused(kwargs, message):
    with pytest.raises(ValueError, match=message):
        make_agent(**kwargs)
