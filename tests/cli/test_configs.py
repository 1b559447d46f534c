"""The files in configs/ and the defaults fit the library that they configure."""

import inspect
from pathlib import Path

import pytest

from rpp_rl.runs.environments import make_vec_env, specification
from rpp_rl.runs.train_sac import AGENT_SETTINGS, POLICY_SETTINGS, build_agent
from rpp_rl.sac import RPPSAC, RPPSACPolicy
from rpp_rl.sac.config import SACConfig, sac_config
from rpp_rl.settings import load_yaml

FILES = sorted((Path(__file__).parents[2] / "configs" / "sac").glob("*.yaml"))
SECTIONS = [
    (path, name)
    for path in FILES
    for name in (load_yaml(path) if "default" in load_yaml(path) else ["Ant-v4"])
    if name != "default"
]


def test_there_are_files():
    assert {path.name for path in FILES} == {"base.yaml", "faithful.yaml", "mujoco.yaml", "sb3.yaml"}


@pytest.mark.parametrize(("path", "env_id"), SECTIONS, ids=lambda value: getattr(value, "stem", value))
def test_an_agent_can_be_built_from_every_section(path, env_id):
    flags = {"env": env_id, "mode": "rpp", "seed": 0, "buffer_size": 10, "device": "cpu"}
    config = sac_config(flags, path)
    envs = make_vec_env(env_id, {}, n_envs=1, seed=0)
    spec = specification(config, envs)
    assert config.group in (None, spec.variant)
    model = build_agent(config, spec, envs)
    assert model.policy.mode == "rpp"
    assert model.policy.critic_mode == ("mlp" if config.policy_only else "rpp")
    assert (model.gamma, model.tau, model.max_grad_norm) == (config.gamma, config.tau, config.max_grad_norm)
    for optimizer in (model.actor.optimizer, model.critic.optimizer):
        assert tuple(optimizer.param_groups[0]["betas"]) == config.optimizer_betas
    if config.target_entropy == "half":
        assert model.target_entropy == -len(envs.action_space.low) / 2
    elif config.target_entropy != "auto":
        assert model.target_entropy == config.target_entropy


@pytest.mark.parametrize(("kind", "names"), [(RPPSAC, AGENT_SETTINGS), (RPPSACPolicy, POLICY_SETTINGS)])
def test_the_defaults_are_those_of_the_library(kind, names):
    config = SACConfig(env="Ant-v4")
    defaults = {name: p.default for name, p in inspect.signature(kind.__init__).parameters.items()}
    shared = [name for name in names if name in defaults and name != "mode"]
    assert len(shared) >= 5
    assert {name: getattr(config, name) for name in shared} == {name: defaults[name] for name in shared}


def test_every_setting_of_the_agent_reaches_it():
    """A setting in neither list, and read nowhere else, would have no effect."""
    source = inspect.getsource(inspect.getmodule(build_agent))
    elsewhere = inspect.getsource(inspect.getmodule(specification)) + source
    unused = [
        name
        for name in SACConfig.__dataclass_fields__
        if name not in (*AGENT_SETTINGS, *POLICY_SETTINGS) and f"config.{name}" not in elsewhere
    ]
    assert unused == []
