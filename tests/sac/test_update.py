"""The update of an RPP agent against the formulas written down plainly: one loss each, with the prior in its graph."""

import pytest
import torch
from stable_baselines3.common.logger import configure
from torch.nn.functional import mse_loss
from torch.nn.utils import clip_grad_norm_, parameters_to_vector

import envs_reps
from rpp_rl.sac import RPPSAC

pytestmark = pytest.mark.mujoco


def make_agent(**policy_kwargs):
    """An agent with some transitions, the same at every call."""
    agent = RPPSAC(
        "RPPPolicy",
        "Walker2d-v5",
        policy_kwargs={"spec": envs_reps.load("Walker2d-v5").to_dict(), "net_arch": [32, 32], **policy_kwargs},
        seed=0,
        device="cpu",
        learning_starts=200,
        buffer_size=200,
        actor_equiv_var=1.0,
        critic_residual_var=1e-2,
        max_grad_norm=0.5,
    )
    agent.learn(100)
    agent.set_logger(configure(None, []))
    return agent


def descend(optimizer, loss, parameters=None):
    optimizer.zero_grad()
    loss.backward()
    if parameters is not None:
        clip_grad_norm_(parameters, 0.5)
    optimizer.step()


def plain_update(agent, batch):
    """Temperature, critics, actor, target critics, in SB3's order."""
    actor, critic, n_data = agent.actor, agent.critic, agent.n_prior_data
    actions, log_prob = actor.action_log_prob(batch.observations)
    log_prob = log_prob[:, None]
    alpha = agent.log_ent_coef.detach().exp()
    descend(agent.ent_coef_optimizer, -(agent.log_ent_coef * (log_prob + agent.target_entropy).detach()).mean())
    with torch.no_grad():
        next_actions, next_log_prob = actor.action_log_prob(batch.next_observations)
        next_q = torch.cat(agent.critic_target(batch.next_observations, next_actions), dim=1).min(1, keepdim=True)[0]
        targets = batch.rewards + (1 - batch.dones) * agent.gamma * (next_q - alpha * next_log_prob[:, None])
    loss = 0.5 * sum(mse_loss(q, targets) for q in critic(batch.observations, batch.actions))
    descend(critic.optimizer, loss + agent.critic_prior.energy(critic) / n_data, critic.parameters())
    q = torch.cat(critic(batch.observations, actions), dim=1).min(1, keepdim=True)[0]
    loss = (alpha * log_prob - q).mean()
    descend(actor.optimizer, loss + agent.actor_prior.energy(actor) / n_data, actor.parameters())
    with torch.no_grad():
        for target, parameter in zip(agent.critic_target.parameters(), critic.parameters(), strict=True):
            target.lerp_(parameter, agent.tau)


@pytest.mark.parametrize("policy_kwargs", [{}, {"policy_only": True}, {"n_critics": 3, "std": "softplus"}], ids=str)
def test_updates_are_those_of_the_formulas(policy_kwargs):
    ours, plain = make_agent(**policy_kwargs), make_agent(**policy_kwargs)
    before = parameters_to_vector(ours.policy.parameters()).detach().clone()
    for agent in (ours, plain):
        agent.set_random_seed(1)  # replay buffers draw from the global streams
        for _ in range(10):
            if agent is ours:
                agent.train(gradient_steps=1, batch_size=32)
            else:
                plain_update(agent, agent.replay_buffer.sample(32))
    ours, plain, before = (
        x if isinstance(x, torch.Tensor) else parameters_to_vector(x.policy.parameters()) for x in (ours, plain, before)
    )
    assert (ours - plain).norm() < 1e-3 * (ours - before).norm()
