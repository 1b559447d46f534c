"""What `import rpp_rl` offers, and what it costs."""

import subprocess
import sys

import pytest

import envs_reps
import rpp_rl
from rpp_rl import agents, derive, dynamics, sac


@pytest.mark.parametrize("package", [rpp_rl, agents, derive, dynamics, sac])
def test_every_public_name_is_there_and_listed(package):
    assert set(package.__all__) <= set(dir(package))
    assert all(getattr(package, name) is not None for name in package.__all__)
    with pytest.raises(AttributeError, match="no attribute 'nonsense'"):
        package.nonsense  # noqa: B018


@pytest.mark.parametrize(
    "code",
    [
        "import rpp_rl; dir(rpp_rl); rpp_rl.SACConfig(env='Ant-v4')",
        "import envs_reps; envs_reps.load('Ant-v4')",
        "from rpp_rl.cli.list_agents import main; main([])",
        "from rpp_rl.cli.evaluate_agent import main; assert main(['unknown']) == 2",
        "from rpp_rl.cli.train_sac import main; assert main(['--resume-agent', 'unknown']) == 2",
        "import rpp_rl.cli.check_spec, rpp_rl.cli.compare_runs, rpp_rl.cli.train_sac, rpp_rl.cli.train_model",
        "from rpp_rl.cli.derive_spec import _parser; _parser(); assert 'mujoco' not in sys.modules",
        "from rpp_rl.cli.run_study import _parser; _parser()",
        "from rpp_rl.cli.run_experiment import _parser; _parser()",
    ],
)
def test_what_needs_no_networks_imports_no_torch(code):
    subprocess.run([sys.executable, "-c", f"import sys; {code}; assert 'torch' not in sys.modules"], check=True)


def test_a_specification_is_loaded_by_environment_or_by_file(tmp_path):
    from rpp_rl.envs import write_spec

    spec = rpp_rl.load_spec("Swimmer-v5", "Z2")
    assert spec == envs_reps.load("Swimmer-v5", "Z2")
    write_spec(tmp_path / "mine.yaml", spec)
    assert rpp_rl.load_spec(tmp_path / "mine.yaml").variant == "Z2"
    with pytest.raises(ValueError, match="is for the group Z2"):
        rpp_rl.load_spec(tmp_path / "mine.yaml", "Z2xZ2")


def test_a_pretrained_agent_goes_on_learning():
    import torch

    source = rpp_rl.load_agent("rpp_sac-Walker2d-v5", device="cpu")
    agent = source.to_sb3("Walker2d-v5", buffer_size=100, learning_starts=5, device="cpu")
    expected = source.policy.state_dict()
    assert all(torch.equal(expected[name], value) for name, value in agent.policy.state_dict().items())
    assert agent.gamma == source.config["gamma"]
    agent.learn(8, reset_num_timesteps=False)
    assert agent.num_timesteps == source.n_steps + 8
    assert any(not torch.equal(expected[name], value) for name, value in agent.policy.state_dict().items())
