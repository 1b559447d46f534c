"""How far an agent is from equivariance on given observations: the relative error of arXiv:2112.01388, eq. 2."""

from __future__ import annotations

import numpy as np
import torch
from jaxtyping import Float
from numpy import ndarray

from rpp_rl.envs.coordinates import from_rep, to_rep
from rpp_rl.envs.spec import EnvSpec
from rpp_rl.sac.policies import RPPSACPolicy
from rpp_rl.symmetry import relative_error


def actor_equivariance_errors(
    policy: RPPSACPolicy, obs: Float[ndarray, "batch obs"], spec: EnvSpec
) -> dict[str, dict[str, float]]:
    """Relative error of the mean and of the log standard deviation (before squashing), for each generator by name.

    Args:
        policy: The agent's policy; a plain one can be measured too.
        obs: Observations as the environment gives them, shape ``(batch, obs)``.
        spec: The symmetry to measure against.
    """
    obs = _act(spec, obs, np.eye(spec.obs_rep.size))
    mean, log_std = _actor(policy, obs)
    action_rep, abs_rep = spec.action_rep, spec.action_rep.abs()
    errors = {}
    for generator, g in zip(spec.generators, spec.group.generator_elements(np.pi / 2), strict=True):
        mean_g, log_std_g = _actor(policy, _act(spec, obs, spec.obs_rep.rho(g)))
        errors[generator.name] = {
            "mean": relative_error(mean_g, mean @ action_rep.rho(g).T),
            "log_std": relative_error(log_std_g, log_std @ abs_rep.rho(g).T),
        }
    return errors


def critic_equivariance_errors(
    policy: RPPSACPolicy, obs: Float[ndarray, "batch obs"], actions: Float[ndarray, "batch action"], spec: EnvSpec
) -> dict[str, float]:
    """Relative error of the critics' values for each generator by name.

    Args:
        policy: The agent's policy.
        obs: Observations, shape ``(batch, obs)``.
        actions: Actions scaled to [-1, 1], shape ``(batch, action)``.
        spec: The symmetry to measure against.
    """
    obs = _act(spec, obs, np.eye(spec.obs_rep.size))
    values = _critic(policy, obs, actions)
    return {
        generator.name: relative_error(
            _critic(policy, _act(spec, obs, spec.obs_rep.rho(g)), actions @ spec.action_rep.rho(g).T), values
        )
        for generator, g in zip(spec.generators, spec.group.generator_elements(np.pi / 2), strict=True)
    }


def _act(spec: EnvSpec, obs: ndarray, rho: ndarray) -> ndarray:
    """The image of observations; of the two quaternions of an orientation, on which plain networks differ, always one.

    The identity acts too, so that both sides of a comparison have the same choice.
    """
    return from_rep(spec.observation, to_rep(spec.observation, obs) @ rho.T)


def _tensors(policy: RPPSACPolicy, *arrays: ndarray) -> list[torch.Tensor]:
    return [torch.as_tensor(array, dtype=torch.float32, device=policy.device) for array in arrays]


@torch.no_grad()
def _actor(policy: RPPSACPolicy, obs: ndarray) -> tuple[ndarray, ndarray]:
    mean, log_std, _ = policy.actor.get_action_dist_params(*_tensors(policy, obs))
    return mean.cpu().double().numpy(), log_std.cpu().double().numpy()


@torch.no_grad()
def _critic(policy: RPPSACPolicy, obs: ndarray, actions: ndarray) -> ndarray:
    return torch.cat(policy.critic(*_tensors(policy, obs, actions)), dim=1).cpu().double().numpy()
