"""The safe format of an agent: one safetensors file with everything about it as JSON in the header (see `rpp_rl.io`).

The document holds ``env`` (id and arguments), both spaces, ``policy`` (the arguments of the networks, with the
specification by value), ``config`` (the settings of the run), ``card`` (steps, returns, versions, ...) and
``log_ent_coef``; the tensors are the state dict of the policy: actor, critics and target critics, enough to act and to
continue training with a fresh replay buffer.
"""

from __future__ import annotations

from pathlib import Path

from rpp_rl.agents.agent_record import KIND, VERSION, mapping
from rpp_rl.agents.card import check_card
from rpp_rl.agents.checked_policy import build_policy, space_from_dict, space_to_dict
from rpp_rl.agents.errors import AgentError, refusing
from rpp_rl.agents.trained_agent import TrainedAgent
from rpp_rl.io.provenance import versions
from rpp_rl.io.tensor_file import read_weights, write_weights
from rpp_rl.sac import RPPSACPolicy

PREFIX = "policy."


def save_agent(agent: TrainedAgent, path: str | Path) -> None:
    """Write an agent; the file is complete or absent.

    Raises:
        AgentError: If its policy is not of this package, or its record holds more than plain values.
        OSError: If the file cannot be written.
    """
    policy = agent.policy
    if not isinstance(policy, RPPSACPolicy):
        raise AgentError(f"{path}: only policies of this package can be saved, got {type(policy).__name__}")
    document = {
        "env": {"id": agent.env_id, "kwargs": agent.env_kwargs},
        "observation_space": space_to_dict(agent.observation_space),
        "action_space": space_to_dict(agent.action_space),
        "policy": policy.network_kwargs,
        "config": agent.config,
        "card": {"versions": versions(), **agent.card},
        "log_ent_coef": agent.log_ent_coef,
    }
    tensors = {PREFIX + name: tensor for name, tensor in policy.state_dict().items()}
    with refusing(path, ValueError):
        write_weights(Path(path), KIND, VERSION, document, tensors)


def read_agent(path: Path, device: str) -> TrainedAgent:
    """Read what `save_agent` wrote.

    Raises:
        AgentError: If the file is damaged, foreign, or of a newer version.
        OSError: If it cannot be read.
    """
    with refusing(path, ValueError, TypeError, KeyError, AttributeError, ArithmeticError, MemoryError):
        document, tensors = read_weights(path, KIND, VERSION)
        env, card, config = (mapping(document, key) for key in ("env", "card", "config"))
        check_card(card)
        policy = build_policy(
            mapping(document, "policy"),
            space_from_dict(mapping(document, "observation_space")),
            space_from_dict(mapping(document, "action_space")),
            {name.removeprefix(PREFIX): tensor for name, tensor in tensors.items()},
            device,
            version=document["version"],
        )
        env_id, log_ent_coef = env["id"], document["log_ent_coef"]
        _check_environment(policy, env_id)
        return TrainedAgent(
            policy,
            env_id=env_id,
            env_kwargs=mapping(env, "kwargs"),
            config=config,
            card=card,
            log_ent_coef=None if log_ent_coef is None else float(log_ent_coef),
        )


def _check_environment(policy: RPPSACPolicy, env_id: object) -> None:
    if env_id is not None and not isinstance(env_id, str):
        raise AgentError(f"expected the id of an environment, got {str(env_id)[:80]!r}")
    spec = policy.symmetry
    if spec is not None and env_id is not None and spec.env_id != env_id:
        raise AgentError(f"the agent is said to be for {env_id[:80]}, but its specification is for {spec.env_id[:80]}")
