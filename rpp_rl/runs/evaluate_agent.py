"""What a saved agent earns, and how symmetric it is on the states it visits."""

from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from stable_baselines3.common.evaluation import evaluate_policy
from stable_baselines3.common.utils import check_for_correct_spaces, set_random_seed

from rpp_rl.agents import TrainedAgent, load_agent, registry
from rpp_rl.agents.card import FEW, reproduces
from rpp_rl.io.border import user_input
from rpp_rl.runs.environments import environment_of, make_vec_env
from rpp_rl.sac import RPPSACPolicy, actor_equivariance_errors

CARD_KEYS = ("episodes", "mean_return", "std_return", "interval")


@dataclass(frozen=True)
class AgentEvaluation:
    """What an evaluation found.

    Attributes:
        agent: The agent's name, if it is a pretrained one, or its file.
        env: The environment.
        deterministic: Whether the agent took its mean action.
        n_steps: Environment steps that the agent was trained for.
        mean_return: Mean of the returns.
        std_return: Their standard deviation.
        returns: Sum of rewards of each episode.
        lengths: Steps of each episode.
        group: The group by which symmetry was measured, if there is one.
        equivariance_error: For each generator the relative error of the policy's mean and log standard deviation on
            the visited states; 0 is equivariant, 0.7 unrelated, 1 the opposite.
        card: What the agent's card says of its return, if it has one and these are episodes of the same kind.
        reproduces_card: Whether the mean return lies in the card's interval; None if it is of another number of
            episodes, for which the interval does not hold.
    """

    agent: str
    env: str
    deterministic: bool
    n_steps: int
    mean_return: float
    std_return: float
    returns: list[float]
    lengths: list[int]
    group: str | None
    equivariance_error: dict[str, dict[str, float]]
    card: dict[str, Any] | None = None
    reproduces_card: bool | None = None

    def __str__(self) -> str:
        policy = "deterministic" if self.deterministic else "stochastic"
        lines = [
            f"{self.agent} after {self.n_steps} steps on {self.env}",
            f"return {self.mean_return:.1f} ± {self.std_return:.1f} in {len(self.returns)} episodes ({policy}), "
            f"mean length {np.mean(self.lengths):.0f}",
        ]
        for name, error in self.equivariance_error.items():
            lines.append(
                f"equivariance error of the policy under {name} of {self.group}: "
                f"mean {error['mean']:.3f}, log std {error['log_std']:.3f}"
            )
        if self.card is not None:
            low, high = self.card["interval"]
            verdict = f"this is {'within' if self.reproduces_card else 'OUTSIDE'} its interval {low:.1f} to {high:.1f}"
            if self.reproduces_card is None:
                verdict = f"play as many to compare (--episodes {self.card['episodes']})"
                if self.card["episodes"] < FEW:
                    verdict = "too few to compare"
            lines.append(
                f"the card says {self.card['mean_return']:.1f} ± {self.card['std_return']:.1f} in "
                f"{self.card['episodes']} episodes; {verdict}"
            )
        return "\n".join(lines)


def evaluate(
    agent: TrainedAgent | str | Path,
    env_id: str | None = None,
    env_kwargs: dict[str, Any] | None = None,
    *,
    n_episodes: int = 20,
    seed: int = 0,
    deterministic: bool = True,
) -> AgentEvaluation:
    """Play episodes, and measure the policy's symmetry on the states met.

    Args:
        agent: The agent, or what `rpp_rl.load_agent` takes.
        env_id: The environment; absent for the one that the agent was trained in.
        env_kwargs: Arguments of the environment; for the agent's own one they override those of its training.
        n_episodes: Number of episodes.
        seed: Seed of the environment, and of the actions if they are drawn.
        deterministic: Whether to take the mean action.

    Raises:
        UserError: If the environment cannot be made or is not one that the agent fits.
    """
    if not isinstance(agent, TrainedAgent):
        agent = load_agent(agent)
    env_id, env_kwargs = environment_of(agent, env_id, env_kwargs or {})
    visited: list[np.ndarray] = []

    def remember(local: dict[str, Any], _: dict[str, Any]) -> None:
        visited.append(local["observations"][0])

    with closing(make_vec_env(env_id, env_kwargs, n_envs=1, seed=seed)) as envs:
        with user_input(ValueError, about=f"{agent.path} does not fit {env_id}"):
            check_for_correct_spaces(envs, agent.observation_space, agent.action_space)
        set_random_seed(seed)
        returns, lengths = evaluate_policy(
            agent, envs, n_episodes, deterministic=deterministic, callback=remember, return_episode_rewards=True
        )
    assert isinstance(returns, list)
    assert isinstance(lengths, list)
    spec = agent.spec
    policy = agent.policy
    errors = {}
    if spec is not None and isinstance(policy, RPPSACPolicy):
        errors = actor_equivariance_errors(policy, np.asarray(visited), spec)
    mean_return = float(np.mean(returns))
    is_alike = deterministic and (env_id, env_kwargs) == (agent.env_id, agent.env_kwargs)
    card = agent.card.get("evaluation") if is_alike else None
    # The interval is for means of as many episodes as the card was made with.
    is_comparable = card is not None and card["episodes"] == len(returns) >= FEW
    return AgentEvaluation(
        agent=registry.name_of(agent.path),
        env=env_id,
        deterministic=deterministic,
        n_steps=agent.n_steps,
        mean_return=mean_return,
        std_return=float(np.std(returns)),
        returns=[float(value) for value in returns],
        lengths=[int(value) for value in lengths],
        group=None if spec is None else spec.variant,
        equivariance_error=errors,
        card=None if card is None else {key: card[key] for key in CARD_KEYS},
        reproduces_card=reproduces(card, mean_return) if card is not None and is_comparable else None,
    )
