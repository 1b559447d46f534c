"""What an update of SAC reads and steps: all that the plain and the fast update know of the agent."""

from __future__ import annotations

from typing import Any, Protocol

from stable_baselines3.common.type_aliases import ReplayBufferSamples
from torch import Tensor

from rpp_rl.nn import Prior
from rpp_rl.sac.networks import RPPActor, RPPCritic
from rpp_rl.sac.policies import RPPSACPolicy


class Learner(Protocol):
    """An agent with actor, critics, target critics and a temperature, their optimisers and priors.

    Attributes:
        policy: Holder of the networks.
        actor: The policy network with its ``optimizer``.
        critic: The critics with their ``optimizer``.
        critic_target: Merged critics that follow them.
        num_timesteps: Environment steps made.
        gamma: Discount per step.
        tau: Speed at which the target critics follow.
        log_ent_coef: Logarithm of the temperature, None if it is fixed.
        ent_coef_optimizer: Its optimiser, None likewise.
        ent_coef_tensor: The fixed temperature.
        target_entropy: Entropy to keep.
        max_grad_norm: Largest norm of a loss's gradient, None for no clipping.
        augment: Whether transitions are moved by random elements of the group.
        mirror_loss: Weight of the mirror loss, 0 for none.
        group_action: How elements of the group act on batches.
        reward_scale: What rewards are divided by.
        batch_norm_stats: Running statistics of the critics.
        batch_norm_stats_target: Those of the target critics.
    """

    policy: RPPSACPolicy
    actor: RPPActor
    critic: RPPCritic
    critic_target: Any
    num_timesteps: int
    gamma: float
    tau: float
    log_ent_coef: Any
    ent_coef_optimizer: Any
    ent_coef_tensor: Any
    target_entropy: Any
    max_grad_norm: float | None
    augment: bool
    mirror_loss: float
    batch_norm_stats: Any
    batch_norm_stats_target: Any

    @property
    def group_action(self) -> Any:  # noqa: ANN401
        """How elements of the group act on batches."""
        ...

    @property
    def reward_scale(self) -> Any:  # noqa: ANN401
        """What rewards are divided by."""
        ...

    def augmented(self, batch: ReplayBufferSamples) -> ReplayBufferSamples:
        """The batch moved by random elements, if augmentation is on."""
        ...

    @property
    def actor_prior(self) -> Prior:
        """The prior of the actor's parameters."""
        ...

    @property
    def critic_prior(self) -> Prior:
        """The prior of the critics' parameters."""
        ...

    @property
    def n_prior_data(self) -> int:
        """The number of data that divides the prior."""
        ...

    def critic_loss(self, batch: ReplayBufferSamples, ent_coef: Tensor) -> Tensor:
        """The loss that the critics descend."""
        ...

    def actor_loss(self, batch: ReplayBufferSamples, actions: Tensor, log_prob: Tensor, ent_coef: Tensor) -> Tensor:
        """The loss that the actor descends."""
        ...
