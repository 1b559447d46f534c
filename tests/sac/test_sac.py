"""The agent as a whole: it learns like SB3's, counts its prior rightly, and survives saving."""

import json
import subprocess
import sys

import gymnasium as gym
import numpy as np
import pytest
import torch
from stable_baselines3.common.env_util import make_vec_env
from stable_baselines3.common.logger import configure
from stable_baselines3.common.save_util import save_to_pkl
from stable_baselines3.common.vec_env import VecNormalize

import envs_reps
from rpp_rl.nn import pathways
from rpp_rl.nn.prior import DECAY
from rpp_rl.sac import RPPSAC, SymmetryCallback

pytestmark = pytest.mark.mujoco

SMALL = {"learning_starts": 50, "buffer_size": 2000, "batch_size": 32, "device": "cpu"}


def make_agent(env="Ant-v4", mode="rpp", *, policy=None, **kwargs):
    """A small agent."""
    spec = envs_reps.load(env if isinstance(env, str) else "Ant-v4").to_dict()
    policy_kwargs = {"spec": spec, "mode": mode, "net_arch": [32, 32], **(policy or {})}
    return RPPSAC("RPPPolicy", env, policy_kwargs=policy_kwargs, **{"seed": 0, **SMALL, **kwargs})


def parameters(agent):
    """All parameters as one vector."""
    return torch.nn.utils.parameters_to_vector(agent.policy.parameters()).detach().clone()


def test_an_evaluation_before_the_first_update_changes_nothing():
    """It makes the actor's weights without gradients, and the update must not go on with those."""
    alone = parameters(make_agent().learn(80))
    watched = make_agent()
    with torch.no_grad():
        watched.predict(np.zeros(watched.observation_space.shape), deterministic=True)
    assert torch.equal(parameters(watched.learn(80)), alone)


@pytest.mark.parametrize(
    ("mode", "policy", "kwargs"),
    [
        ("rpp", {}, {"actor_residual_var": 0.1, "critic_residual_var": 0.1}),
        ("rpp", {"policy_only": True}, {}),
        ("emlp", {}, {}),
        ("rpp", {"normalize_obs": True, "layer_norm": True}, {}),
        (
            "rpp",
            {"hidden": "16*R + 4*V + 2*V*V", "activation": "silu", "bilinear": True, "std": "softplus"},
            {"max_grad_norm": 0.5, "prior_n_data": 10, "actor_equiv_var": 1.0, "target_entropy": -4.0},
        ),
        ("rpp", {}, {"ent_coef": 0.2, "gradient_steps": 2}),
        ("rpp", {"optimizer_class": torch.optim.RMSprop}, {}),
        ("rpp", {"n_critics": 3, "net_arch": {"pi": [16], "qf": [32, 16]}}, {}),
        ("rpp", {"n_critics": 1, "net_arch": []}, {}),
    ],
    ids=str,
)
def test_every_kind_of_agent_learns(mode, policy, kwargs):
    agent = make_agent(mode=mode, policy=policy, **kwargs)
    before = parameters(agent)
    agent.learn(80, callback=SymmetryCallback(log_freq=20))
    after = parameters(agent)
    assert after.isfinite().all()
    assert not torch.equal(before, after)


def test_same_seed_same_agent():
    assert torch.equal(parameters(make_agent().learn(80)), parameters(make_agent().learn(80)))


@pytest.mark.parametrize(("env", "expected"), [("Ant-v4", DECAY), ("HalfCheetah-v4", DECAY / (1 + 0.3 / 0.03))])
def test_residual_pathways_decay_the_faster_the_better_the_symmetry_holds(env, expected, tmp_path):
    policy_kwargs = {"spec": envs_reps.load(env).to_dict(), "net_arch": [16]}
    agent = RPPSAC(env=env, policy_kwargs=policy_kwargs, critic_residual_decay=7.0, **SMALL)
    decays = [network.optimizer.param_groups[1]["weight_decay"] for network in (agent.actor, agent.critic)]
    assert decays == [pytest.approx(expected, rel=0.02), 7.0]
    assert {id(p) for p in agent.actor.optimizer.param_groups[1]["params"]} == {
        id(p) for p in pathways(agent.actor).residual
    }
    agent.save(tmp_path / "agent")
    assert RPPSAC.load(tmp_path / "agent").policy.residual_decay == agent.policy.residual_decay


def test_a_gaussian_prior_needs_no_decay_beside_it_unless_one_is_given():
    settings = {"actor_residual_var": 1.0, "critic_residual_var": 1.0, "critic_residual_decay": 7.0}
    assert make_agent(**settings).policy.residual_decay == {"actor": None, "critic": 7.0}
    assert None not in make_agent().policy.residual_decay.values()


@pytest.mark.parametrize("mode", ["mlp", "emlp"])
def test_a_single_pathway_does_not_decay(mode):
    policy_kwargs = {"spec": envs_reps.load("Ant-v4").to_dict(), "net_arch": [16], "mode": mode}
    agent = RPPSAC(env="Ant-v4", policy_kwargs=policy_kwargs, **SMALL)
    assert [len(network.optimizer.param_groups) for network in (agent.actor, agent.critic)] == [1, 1]


def test_decay_keeps_the_agent_symmetric():
    ratios = []
    for decay in (300.0, None):
        agent = make_agent(actor_residual_decay=decay, critic_residual_decay=decay)
        agent.set_logger(configure(None, []))
        agent.learn(150, callback=SymmetryCallback(log_freq=140))
        ratios.append(agent.logger.name_to_value["rpp/critic_residual_ratio"])
    assert ratios[0] < 0.5 * ratios[1]


def test_policy_is_updated_every_second_time_if_delayed():
    agent = make_agent(policy_delay=2)
    agent.learn(80)
    steps = [next(iter(network.optimizer.state.values()))["step"].item() for network in (agent.actor, agent.critic)]
    assert steps[1] > 10
    assert steps[0] == (steps[1] + 1) // 2


@pytest.mark.parametrize("setting", [{"augment": True}, {"mirror_loss": 1.0}])
def test_a_group_is_needed_to_augment(setting):
    with pytest.raises(ValueError, match="augment and mirror_loss need a symmetry"):
        RPPSAC(env="Ant-v4", policy_kwargs={"mode": "mlp"}, **setting, **SMALL)


def test_small_residual_variance_keeps_the_agent_symmetric():
    """The prior does what its name says: the smaller the variance, the smaller the residual pathway."""
    ratios = []
    for residual_var in (1e-8, None):
        agent = make_agent(actor_residual_var=residual_var, critic_residual_var=residual_var)
        agent.set_logger(configure(None, []))
        agent.learn(150, callback=SymmetryCallback(log_freq=140))
        ratios.append(agent.logger.name_to_value["rpp/critic_residual_ratio"])
    assert ratios[0] < 0.5 * ratios[1]


def test_symmetry_is_logged_without_touching_the_training():
    watched = make_agent()
    watched.set_logger(configure(None, []))
    watched.learn(90, callback=SymmetryCallback(log_freq=80))
    record = watched.logger.name_to_value
    expected = {"rpp/actor_mean_error/r", "rpp/actor_log_std_error/f", "rpp/critic_error/r", "rpp/actor_prior_energy"}
    assert expected <= set(record)
    assert 0 <= record["rpp/critic_error/r"] <= 1
    assert torch.equal(parameters(watched), parameters(make_agent().learn(90)))


def test_vec_envs_and_continued_learning(tmp_path):
    env = make_vec_env("Ant-v4", 2, seed=0)
    agent = make_agent(env, gradient_steps=-1).learn(100)
    agent.save(tmp_path / "agent.zip")
    again = RPPSAC.load(tmp_path / "agent.zip", env=env)
    again.learn(80, reset_num_timesteps=False)
    assert again.num_timesteps == 180


def test_saved_agent_acts_the_same_in_a_new_process(tmp_path):
    agent = make_agent(policy={"normalize_obs": True}).learn(80)
    obs = np.random.default_rng(0).normal(size=(5, 27))
    agent.save(tmp_path / "agent.zip")
    np.save(tmp_path / "obs.npy", obs)
    code = (
        "import numpy as np, sys; from rpp_rl.sac import RPPSAC; folder = sys.argv[1];"
        "agent = RPPSAC.load(folder + '/agent.zip', device='cpu');"
        "np.save(folder + '/actions.npy', agent.predict(np.load(folder + '/obs.npy'), deterministic=True)[0])"
    )
    subprocess.run([sys.executable, "-c", code, str(tmp_path)], check=True)
    assert np.array_equal(np.load(tmp_path / "actions.npy"), agent.predict(obs, deterministic=True)[0])


def test_loading_restores_networks_optimisers_and_settings(tmp_path):
    agent = make_agent(actor_residual_var=0.25, max_grad_norm=1.5).learn(80)
    agent.save(tmp_path / "agent.zip")
    loaded = RPPSAC.load(tmp_path / "agent.zip")
    assert torch.equal(parameters(agent), parameters(loaded))
    assert (loaded.actor_residual_var, loaded.max_grad_norm) == (0.25, 1.5)
    assert loaded.policy.symmetry == agent.policy.symmetry
    ours, theirs = (a.actor.optimizer.state_dict()["state"] for a in (agent, loaded))
    assert all(torch.equal(ours[i]["exp_avg"], theirs[i]["exp_avg"]) for i in ours)
    fresh = make_agent(actor_residual_var=0.25, seed=5)
    fresh.set_parameters(agent.get_parameters())
    assert torch.equal(parameters(fresh), parameters(agent))


def test_replay_buffer_is_saved_without_unused_room(tmp_path):
    agent = make_agent(buffer_size=100_000).learn(60)
    agent.save_replay_buffer(tmp_path / "buffer.pkl")
    assert (tmp_path / "buffer.pkl").stat().st_size < 60 * 1000
    again = make_agent(buffer_size=100_000)
    again.load_replay_buffer(tmp_path / "buffer.pkl")
    assert (again.replay_buffer.size(), again.replay_buffer.buffer_size) == (60, 100_000)
    assert np.array_equal(again.replay_buffer.observations[:60], agent.replay_buffer.observations[:60])
    again.learn(20, reset_num_timesteps=False)


def test_a_larger_buffer_of_sb3_fits_if_its_transitions_do(tmp_path):
    agent = make_agent(buffer_size=5000).learn(60)
    save_to_pkl(tmp_path / "buffer.pkl", agent.replay_buffer)
    again = make_agent(buffer_size=100)
    again.load_replay_buffer(tmp_path / "buffer.pkl")
    assert (again.replay_buffer.size(), again.replay_buffer.buffer_size) == (60, 100)
    with pytest.raises(ValueError, match="60 transitions does not fit into 50"):
        make_agent(buffer_size=50).load_replay_buffer(tmp_path / "buffer.pkl")


def test_policy_alone_can_be_saved(tmp_path):
    agent = make_agent()
    agent.policy.save(tmp_path / "policy.pth")
    loaded = type(agent.policy).load(tmp_path / "policy.pth", device="cpu")
    obs = np.random.default_rng(0).normal(size=(5, 27))
    assert np.array_equal(loaded.predict(obs, deterministic=True)[0], agent.predict(obs, deterministic=True)[0])


def test_arguments_of_the_policy_are_stored_as_plain_json(tmp_path):
    import zipfile

    make_agent().save(tmp_path / "agent.zip")
    data = json.loads(zipfile.ZipFile(tmp_path / "agent.zip").read("data"))
    assert data["policy_kwargs"]["spec"]["env_id"] == "Ant-v4"


class Faulty(gym.Wrapper):
    """An environment whose observation is NaN from the tenth step on."""

    steps = 0

    def step(self, action):
        obs, *rest = self.env.step(action)
        self.steps += 1
        return (obs * np.nan if self.steps == 10 else obs, *rest)


class Exploding(Faulty):
    """An environment that ends with the step at which its observation is NaN, as MuJoCo's do."""

    def step(self, action):
        obs, reward, _, _, info = super().step(action)
        return obs, reward, self.steps == 10, False, info


@pytest.mark.parametrize("kind", [Faulty, Exploding])
def test_nan_observations_stop_the_training(kind):
    with pytest.raises(FloatingPointError, match="step 10: the environment returned"):
        make_agent(kind(gym.make("Ant-v4"))).learn(50)


def test_vec_normalize_is_refused_because_it_breaks_the_symmetry():
    env = VecNormalize(make_vec_env("Ant-v4", 1))
    with pytest.raises(ValueError, match="VecNormalize scales every"):
        make_agent(env)
    agent = make_agent()
    with pytest.raises(ValueError, match="VecNormalize scales every"):
        agent.set_env(env)
    make_agent(env, mode="mlp").learn(60)
    make_agent(VecNormalize(make_vec_env("Ant-v4", 1), norm_obs=False)).learn(60)


def test_policies_of_sb3_are_refused():
    with pytest.raises(ValueError, match="RPPSAC needs the policy 'RPPPolicy', got SACPolicy"):
        RPPSAC("MlpPolicy", "Ant-v4", **SMALL)


def test_the_first_step_can_be_logged():
    make_agent().learn(3, callback=SymmetryCallback(log_freq=1))


@pytest.mark.parametrize("kwargs", [{"actor_equiv_var": 0.0}, {"critic_residual_var": -1.0}], ids=str)
def test_bad_variances_are_refused(kwargs):
    with pytest.raises(ValueError, match="must be positive"):
        make_agent(**kwargs)


def test_beside_a_gaussian_nothing_decays_unless_asked():
    policy_kwargs = {"spec": envs_reps.load("Ant-v4").to_dict(), "net_arch": [16]}
    agent = RPPSAC(env="Ant-v4", policy_kwargs=policy_kwargs, actor_residual_var=1e-3, **SMALL)
    assert [len(network.optimizer.param_groups) for network in (agent.actor, agent.critic)] == [1, 2]
