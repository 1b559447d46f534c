"""The settings of ``train-sac``."""

import dataclasses
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Literal

from rpp_rl.common_settings import CommonSettings
from rpp_rl.settings import Settings, merged_settings, setting

METHODS = {"rpp": "rpp_sac", "emlp": "emlp_sac", "mlp": "sac"}


@dataclass(frozen=True)
class NetworkSettings(Settings):
    """What the networks of an agent are, beside the symmetry itself.

    Declared here once: settings and flags of ``train-sac``, arguments of `rpp_rl.sac.RPPSACPolicy`, what a saved agent
    says of its networks, and the documentation are made from these fields.

    Raises:
        ValueError: If a value has the wrong type or lies outside its range.
    """

    mode: Literal["mlp", "rpp", "emlp"] = setting(
        "mlp", "plain networks, symmetry as a soft prior, or symmetry as a law"
    )
    policy_only: bool = setting(
        False, "let the symmetry act on the policy and leave the critic plain", flag="--policy-only"
    )
    net_arch: tuple[int, ...] = setting((256, 256), "widths of the hidden layers", at_least=1)
    n_critics: int = setting(2, "critics, of which the lowest value counts", at_least=1)
    activation: Literal["relu", "silu", "tanh"] = setting("relu", "nonlinearity of the hidden layers")
    hidden: str = setting("regular", "hidden representation: regular, uniform, or an expression like 136*R + 30*V")
    bilinear: bool = setting(False, "add the paper's bilinear layer")
    layer_norm: bool = setting(False, "equivariant layer norm in the critics")
    normalize_obs: bool = setting(False, "normalise observations by running statistics that commute with the group")
    head_scale: float | None = setting(None, "factor on the fresh last layer of the actor; absent for 0.01", at_least=0)
    subgroup: tuple[str, ...] = setting(
        (),
        "generators of the group by name, such as [f] for the Ant's flip: what commutes with these alone has a level "
        "of its own between both pathways of soft networks; learns by the plain update, about three times slower",
    )
    subgroup_decay: float = setting(0.1, "decay of that level, relative to the residual pathway's", at_least=0)
    std: Literal["exp", "softplus"] = setting("exp", "how the actor's head becomes a standard deviation")

    def policy_kwargs(self) -> dict[str, Any]:
        """Plain values, as arguments of `rpp_rl.sac.RPPSACPolicy`."""
        return _of_kind(self, NetworkSettings)


NETWORK_SETTINGS = tuple(field.name for field in dataclasses.fields(NetworkSettings))
"""The names of `NetworkSettings`."""


@dataclass(frozen=True)
class LearningSettings(Settings):
    """What `rpp_rl.sac.RPPSAC` adds to the learning of Stable-Baselines3's SAC: settings of a run and its arguments.

    Declared here once, as `NetworkSettings` are.

    Raises:
        ValueError: If a value has the wrong type or lies outside its range.
    """

    compile: bool = setting(
        True,
        "capture the updates as one graph where the networks are on a GPU, with a copy of the replay buffer there",
        flag="--compile",
    )
    policy_delay: int = setting(1, "updates of the critics for one of the policy and of the temperature", at_least=1)
    scale_rewards: bool = setting(False, "divide rewards by the running scale of the returns")
    augment: bool = setting(False, "move every sampled transition by a random element of the group", flag="--augment")
    mirror_loss: float = setting(
        0.0,
        "weight of the squared difference between actions for mirrored states and mirrored actions",
        at_least=0,
        flag="--mirror-loss",
    )
    max_grad_norm: float | None = setting(None, "largest norm of a loss's gradient; absent for no clipping", at_least=0)

    actor_residual_decay: float | Literal["auto"] | None = setting(
        "auto",
        "decay of the actor's residual pathway relative to the learning rate; 'auto' for one that trusts the symmetry "
        "as far as it was measured to hold, or none beside a Gaussian prior; null for none",
        at_least=0,
    )
    critic_residual_decay: float | Literal["auto"] | None = setting(
        "auto", "the same for the critics' residual pathway", at_least=0
    )
    actor_equiv_var: float | None = setting(
        None, "variance of the paper's Gaussian prior in the loss for the actor's equivariant pathway; null for none"
    )
    actor_residual_var: float | None = setting(None, "the same for its residual pathway")
    critic_equiv_var: float | None = setting(None, "the same for the critics' equivariant pathway")
    critic_residual_var: float | None = setting(None, "the same for the critics' residual pathway")
    prior_n_data: int | None = setting(
        None, "number of data that divides the prior; absent for the transitions in the replay buffer", at_least=1
    )


LEARNING_SETTINGS = tuple(field.name for field in dataclasses.fields(LearningSettings))
"""The names of `LearningSettings`."""


@dataclass(frozen=True)
class AgentSettings(LearningSettings):
    """How an agent learns, beside its networks: arguments of `rpp_rl.sac.RPPSAC`, here those that SB3's SAC has too.

    Raises:
        ValueError: If a value has the wrong type or lies outside its range.
    """

    seed: int | None = setting(
        None,
        "seed of every random number; drawn and recorded when absent",
        at_least=0,
        at_most=2**32 - 1,
        flag="--seed",
    )
    device: str = setting(
        "auto", "device of the networks: auto, cpu, cuda, cuda:1, ...", flag="--device", metavar="DEVICE"
    )
    learning_rate: float = setting(3e-4, "step size of all optimisers", at_least=0)
    buffer_size: int = setting(1_000_000, "transitions in the replay buffer", at_least=1)
    learning_starts: int = setting(10_000, "random steps before the first update", at_least=0)
    batch_size: int = setting(256, "transitions per update", at_least=1)
    tau: float = setting(0.005, "speed at which the target critics follow the critics", at_least=0, at_most=1)
    gamma: float = setting(0.99, "discount per step", at_least=0, at_most=1)
    train_freq: int = setting(1, "steps of each environment between two rounds of updates", at_least=1)
    gradient_steps: int = setting(1, "updates per round and environment; -1 for as many as steps", at_least=-1)
    ent_coef: float | str = setting("auto", "entropy coefficient: a number, 'auto', or 'auto_x' to start at x")
    target_entropy: float | Literal["auto", "half"] = setting(
        "auto", "entropy to keep; 'auto' is minus the number of actions, 'half' is half of that"
    )

    def agent_kwargs(self) -> dict[str, Any]:
        """Plain values, as arguments of `rpp_rl.sac.RPPSAC`."""
        return _of_kind(self, AgentSettings)


@dataclass(frozen=True)
class ModelSettings(Settings):
    """The models that a model-based agent learns and learns from: arguments of `ModelBasedRPPSAC`.

    Raises:
        ValueError: If a value has the wrong type or lies outside its range.
    """

    model_ensemble: int = setting(5, "models of the dynamics", at_least=1)
    model_net_arch: tuple[int, ...] = setting((256, 256), "widths of the models' hidden layers", at_least=1)
    model_learning_rate: float = setting(1e-3, "step size of the models' optimiser", at_least=0)
    model_train_freq: int = setting(250, "steps from one training of the models to the next", at_least=1)
    model_updates: int = setting(250, "updates of each training; eight times as many in the first one", at_least=1)
    n_rollouts: int = setting(25_000, "rollouts that begin after each training of the models", at_least=1)
    rollout_length: int | tuple[int, ...] | Literal["auto"] = setting(
        "auto",
        "steps of a rollout; [from, to, shortest, longest] grows between these numbers of steps of the environment; "
        "'auto' goes as far as the error of the models on new steps stays below rollout_error",
        at_least=1,
    )
    rollout_error: float = setting(0.3, "largest error of 'auto', in units of the spread of the states", at_least=0)
    max_rollout_length: int = setting(10, "largest number of steps of 'auto'", at_least=1)
    real_ratio: float = setting(0.05, "share of real steps in a batch", at_least=0, at_most=1)
    model_retain: int = setting(4, "rounds of rollouts that are kept", at_least=1)

    def __post_init__(self) -> None:
        super().__post_init__()
        if isinstance(self.rollout_length, tuple) and len(self.rollout_length) != 4:
            raise ValueError(f"rollout_length: expected [from, to, shortest, longest], got {list(self.rollout_length)}")
        if self.n_rollouts < self.model_ensemble:
            raise ValueError(
                f"n_rollouts: expected at least one for each of the {self.model_ensemble} models, got {self.n_rollouts}"
            )

    def model_kwargs(self) -> dict[str, Any]:
        """Plain values, as arguments of `rpp_rl.model_based.ModelBasedRPPSAC`."""
        return _of_kind(self, ModelSettings)


MODEL_SETTINGS = tuple(field.name for field in dataclasses.fields(ModelSettings))
"""The names of `ModelSettings`."""


@dataclass(frozen=True)
class RunSettings(CommonSettings):
    """What an agent learns in, how long, and what is recorded of it.

    Raises:
        ValueError: If a value has the wrong type or lies outside its range.
    """

    group: str | None = setting(
        None, "symmetry group, one of the variants of the environment's specification", flag="--group", metavar="NAME"
    )
    env_kwargs: dict[str, object] = setting(  # noqa: RUF009
        {}, "arguments of the environment", flag="--env-kwargs", metavar="KEY:VALUE"
    )

    n_timesteps: int = setting(1_000_000, "environment steps in total", at_least=1, flag=("-n", "--n-timesteps"))
    n_envs: int = setting(1, "environments that are stepped side by side", at_least=1, flag="--num-envs")
    vec_env: Literal["dummy", "subproc"] = setting(
        "subproc", "step several environments here, or in one process each", flag="--vec-env"
    )

    eval_freq: int = setting(10_000, "evaluate every N steps", at_least=1, flag="--eval-freq")
    eval_episodes: int = setting(
        10, "episodes per evaluation, with the deterministic policy", at_least=1, flag="--eval-episodes"
    )
    n_eval_envs: int = setting(1, "environments used for an evaluation", at_least=1, flag="--n-eval-envs")
    save_freq: int = setting(25_000, "write a checkpoint every N steps", at_least=1, flag="--save-freq")
    log_interval: int = setting(4, "log losses and returns every N episodes", at_least=1, flag="--log-interval")
    save_replay_buffer: bool = setting(
        True, "keep the replay buffer with the newest checkpoint; needed to resume", flag="--save-replay-buffer"
    )


@dataclass(frozen=True)
class SACConfig(NetworkSettings, AgentSettings, ModelSettings, RunSettings):
    """Everything that decides a run of ``train-sac``: an environment, a symmetry, and numbers.

    Raises:
        ValueError: If a value has the wrong type or lies outside its range.
    """

    config_folder: ClassVar[str] = "sac"
    base: ClassVar[str | None] = "base"

    model_based: bool = setting(
        False,
        "learn a model of the dynamics too, and draw most of every batch from short rollouts of the policy in it",
        flag="--model-based",
    )
    optimizer_betas: tuple[float, ...] = setting((0.9, 0.999), "decay rates of Adam's averages", at_least=0, at_most=1)

    def __post_init__(self) -> None:
        for name in ("actor_residual_var", "critic_residual_var"):
            if getattr(self, name) == "auto":  # Recorded by runs that knew no decay: let the decay decide.
                object.__setattr__(self, name, None)
        super().__post_init__()
        if isinstance(self.ent_coef, str) and not re.fullmatch(r"auto(_\d*[1-9]\d*|_\d+\.\d*[1-9]\d*)?", self.ent_coef):
            raise ValueError(f"ent_coef: expected a number, 'auto' or for example 'auto_0.1', got {self.ent_coef!r}")
        if len(self.optimizer_betas) != 2:
            raise ValueError(f"optimizer_betas: expected two numbers, got {list(self.optimizer_betas)}")

    @property
    def uses_group(self) -> bool:
        """Whether anything in the training depends on the symmetry."""
        return self.mode != "mlp" or self.augment or self.mirror_loss > 0

    @property
    def method(self) -> str:
        """The name of the method that learns, after which the folders of its runs are named."""
        return f"mb_{METHODS[self.mode]}" if self.model_based else METHODS[self.mode]


def sac_config(flags: Mapping[str, object], path: Path | None = None) -> SACConfig:
    """`merged_settings` of a run of ``train-sac``."""
    return merged_settings(SACConfig, flags, path)


def _of_kind(config: Settings, kind: type[Settings]) -> dict[str, Any]:
    """The part of settings that a base class of theirs declares."""
    names = {field.name for field in dataclasses.fields(kind)}
    return {name: value for name, value in config.to_dict().items() if name in names}
