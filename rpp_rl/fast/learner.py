"""What the fast update reads and steps: all that it knows of an agent."""

from __future__ import annotations

from typing import Any, Protocol

from jaxtyping import Float
from stable_baselines3.common.type_aliases import ReplayBufferSamples
from torch import Tensor

from rpp_rl.nn import Prior


class Images(Protocol):
    """Observations that were moved by elements of the group."""

    @property
    def observations(self) -> Float[Tensor, "batch obs"]:
        """The images."""
        ...

    def of_actions(self, actions: Float[Tensor, "batch action"]) -> Float[Tensor, "batch action"]:
        """The actions moved by the same elements."""
        ...

    def back(self, actions: Float[Tensor, "batch action"]) -> Float[Tensor, "batch action"]:
        """The inverse of `of_actions`."""
        ...


class Learner(Protocol):
    """An agent with actor, critics, target critics and a temperature, their optimisers and priors.

    Attributes:
        policy: Holder of the networks, with their modes.
        actor: The policy network with its ``optimizer``.
        critic: The critics with their ``optimizer``.
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
        batch_norm_stats: Running statistics of the critics.
        batch_norm_stats_target: Those of the target critics.
    """

    policy: Any
    actor: Any
    critic: Any
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
    def reward_scale(self) -> float:
        """What rewards are divided by."""
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

    def augmented(self, batch: ReplayBufferSamples) -> ReplayBufferSamples:
        """The batch moved by random elements, if augmentation is on."""
        ...
