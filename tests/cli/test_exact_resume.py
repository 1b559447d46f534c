"""A run that was killed and resumed equals the run that never stopped, bit for bit."""

import gymnasium as gym
import numpy as np
import pytest
from gymnasium.envs.classic_control import PendulumEnv

from rpp_rl.cli.train_sac import main
from rpp_rl.io.plain_tree import pack
from rpp_rl.runs import callbacks
from rpp_rl.runs.checkpoint import read_checkpoint
from rpp_rl.sac import RPPSAC
from scripts.soak_checks import different, everything, run_of


class Died(BaseException):
    """The process is gone: nothing after this runs."""


def flags(folder, env, n_steps, *more):
    return [
        "--env", env, "--seed", "3", "-f", str(folder), "-n", str(n_steps), "--eval-freq", "60", "--eval-episodes", "1",
        "--save-freq", "35", "-tb", "off", *more, "-params", "learning_starts:40", "net_arch:[8,8]", "buffer_size:150",
        "batch_size:16",
    ]  # fmt: skip


def dying_after(monkeypatch, n_steps):
    """Let the process die in the middle of this step of the training."""
    store = RPPSAC._store_transition
    n_made = 0

    def dying(self, *transition):
        nonlocal n_made
        n_made += 1
        if n_made == n_steps:
            raise Died
        store(self, *transition)

    monkeypatch.setattr(RPPSAC, "_store_transition", dying)


def killed_and_resumed(monkeypatch, folder, arguments, moments):
    """Run, die after so many steps each time, resume, and so on to the end."""
    for n_steps in moments:
        with monkeypatch.context() as patch:
            dying_after(patch, n_steps)
            with pytest.raises(Died):
                main(arguments)
        arguments = ["--resume", str(run_of(folder).path)]
    assert main(arguments) == 0
    return run_of(folder)


@pytest.mark.mujoco
def test_a_killed_run_ends_with_the_same_numbers(tmp_path, monkeypatch):
    assert main(flags(tmp_path / "whole", "Hopper-v5", 160, "--rpp")) == 0
    arguments = flags(tmp_path / "killed", "Hopper-v5", 160, "--rpp")
    killed = killed_and_resumed(monkeypatch, tmp_path / "killed", arguments, [52, 36])
    assert different(everything(run_of(tmp_path / "whole")), everything(killed)) == []


MODEL_BASED = [
    "--rpp", "--model-based", "-params", "model_train_freq:30", "model_updates:3", "n_rollouts:30", "model_ensemble:2",
    "model_net_arch:[8,8]", "max_rollout_length:3", "gradient_steps:2",
]  # fmt: skip


@pytest.mark.mujoco
def test_a_killed_model_based_run_ends_with_the_same_numbers(tmp_path, monkeypatch):
    """Its models, their optimisers and the imagined steps included."""
    assert main(flags(tmp_path / "whole", "Hopper-v5", 110, *MODEL_BASED)) == 0
    killed = killed_and_resumed(
        monkeypatch, tmp_path / "killed", flags(tmp_path / "killed", "Hopper-v5", 110, *MODEL_BASED), [82]
    )
    whole = run_of(tmp_path / "whole")
    assert killed.path.parent.name == "mb_rpp_sac"
    assert different(everything(whole), everything(killed)) == []
    one, other = (pack(read_checkpoint(folder).state["model_based"])[1] for folder in (whole, killed))
    assert all(np.array_equal(one[name], other[name]) for name in one | other)
    assert len(one) > 50


def test_the_comparison_sees_a_difference(tmp_path, monkeypatch):
    """Negative control: without the state of the generators the resumed run is another one."""
    assert main(flags(tmp_path / "whole", "Pendulum-v1", 100)) == 0
    monkeypatch.setattr("rpp_rl.runs.training_state.torch.set_rng_state", lambda state: None)
    killed = killed_and_resumed(monkeypatch, tmp_path / "killed", flags(tmp_path / "killed", "Pendulum-v1", 100), [90])
    found = different(everything(run_of(tmp_path / "whole")), everything(killed))
    assert any(name.startswith("policy.actor") for name in found)


def test_a_run_stopped_in_its_last_evaluation_is_finished_by_resuming(tmp_path, monkeypatch):
    arguments = flags(tmp_path / "whole", "Pendulum-v1", 100)
    assert main(arguments) == 0
    arguments = flags(tmp_path / "killed", "Pendulum-v1", 100)
    with monkeypatch.context() as patch:
        patch.setattr("rpp_rl.runs.train_sac.save_agent", die)
        with pytest.raises(Died):
            main(arguments)
    killed = run_of(tmp_path / "killed")
    assert not killed.agent.exists()
    assert main(["--resume", str(killed.path)]) == 0
    assert different(everything(run_of(tmp_path / "whole")), everything(killed)) == []


def die(*_):
    raise Died


class Opaque(PendulumEnv):
    """It has a part that nobody knows how to save."""

    def __init__(self):
        super().__init__()
        self.part = iter(range(10))


def test_an_environment_that_cannot_be_continued_says_so(tmp_path, monkeypatch, capsys):
    gym.register("Opaque-v0", entry_point=Opaque, max_episode_steps=50)
    try:
        folder = killed_and_resumed(monkeypatch, tmp_path, flags(tmp_path, "Opaque-v0", 100), [80])
    finally:
        del gym.registry["Opaque-v0"]
    output = capsys.readouterr().out
    assert "a resumed run will begin a new episode, and differ from one that was never stopped: env" in output
    assert "part is a builtins.range_iterator, whose state is not known" in output
    assert "new episodes begin, because the environment cannot continue the old ones" in output
    assert read_checkpoint(folder).mark.n_steps == 100


@pytest.mark.slow
def test_environments_in_processes_of_their_own_resume_exactly_too(tmp_path, monkeypatch):
    arguments = [*flags(tmp_path / "whole", "Pendulum-v1", 160), "n_envs:2"]
    assert main(arguments) == 0
    arguments = [*flags(tmp_path / "killed", "Pendulum-v1", 160), "n_envs:2"]
    killed = killed_and_resumed(monkeypatch, tmp_path / "killed", arguments, [50])
    assert different(everything(run_of(tmp_path / "whole")), everything(killed)) == []


def test_a_signal_to_save_is_obeyed_and_the_run_goes_on(tmp_path, monkeypatch):
    asked = iter([False] * 20 + [True] + [False] * 1000)
    monkeypatch.setattr(callbacks.StopRequest, "take_save_request", lambda self: next(asked))
    assert main(flags(tmp_path, "Pendulum-v1", 100)) == 0
    assert run_of(tmp_path).checkpoint(20).exists()
    np.testing.assert_array_equal(run_of(tmp_path).load_evaluations()[0], [60])
