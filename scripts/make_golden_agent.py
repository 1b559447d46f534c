"""Make the golden agents of the tests: files of this version that every later version has to load.

    python scripts/make_golden_agent.py

Run it once per version of the format, never to make a failing test pass: that is what the test is for.
"""

from __future__ import annotations

import json
from pathlib import Path

import gymnasium as gym
import numpy as np

import envs_reps
from rpp_rl.agents import TrainedAgent, load_agent, save_agent
from rpp_rl.agents.agent_record import VERSION
from rpp_rl.sac import RPPSAC
from rpp_rl.sac.config import SACConfig

FOLDER = Path(__file__).parent.parent / "tests" / "agents" / "golden"
KINDS = {"rpp": "Walker2d-v5", "emlp": "Swimmer-v5", "mlp": "HalfCheetah-v5"}
"""Modes and environments; all three kinds of networks, small."""


def main() -> None:
    """Write for each kind the agent and, as JSON, observations with the actions and values it has for them."""
    FOLDER.mkdir(parents=True, exist_ok=True)
    for mode, env_id in KINDS.items():
        config = SACConfig(env=env_id, mode=mode, net_arch=(16, 16), normalize_obs=mode == "rpp", learning_starts=50)  # pyright: ignore[reportArgumentType]
        kwargs = {"spec": envs_reps.load(env_id).to_dict(), "mode": mode, "net_arch": [16, 16]}
        env = gym.make(env_id)
        model = RPPSAC("RPPPolicy", env, seed=0, learning_starts=50, buffer_size=1000, device="cpu",
                       policy_kwargs={**kwargs, "normalize_obs": config.normalize_obs})  # fmt: skip
        model.learn(150)
        assert model.log_ent_coef is not None
        agent = TrainedAgent(
            model.policy,
            env_id=env_id,
            env_kwargs={},
            config=config.to_dict(),
            card={"name": f"golden-{mode}", "steps": model.num_timesteps},
            log_ent_coef=float(model.log_ent_coef.detach()),
        )
        path = FOLDER / f"{mode}_format{VERSION}.safetensors"
        save_agent(agent, path)
        assert model.replay_buffer is not None
        obs = model.replay_buffer.observations[:8, 0].astype(np.float64)
        actions, _ = load_agent(path, device="cpu").predict(obs)
        record = {"env_id": env_id, "observations": obs.tolist(), "actions": actions.astype(float).tolist()}
        record |= {"steps": model.num_timesteps, "log_ent_coef": agent.log_ent_coef}
        path.with_suffix(".json").write_text(json.dumps(record))
        print(path)


if __name__ == "__main__":
    main()
