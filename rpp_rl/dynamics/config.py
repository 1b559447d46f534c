"""The settings of ``train-model``."""

from dataclasses import dataclass
from typing import ClassVar, Literal

from rpp_rl.common_settings import CommonSettings
from rpp_rl.settings import setting

METHODS = {"rpp": "rpp_model", "emlp": "emlp_model", "mlp": "mlp_model"}

MODEL_DECAY = 3.0
"""Decay λ of a model's residual pathway under a symmetry that holds exactly: weaker than an agent's."""


@dataclass(frozen=True)
class ModelConfig(CommonSettings):
    """Everything that decides a run of ``train-model``: an environment, data, a symmetry, and numbers.

    Raises:
        ValueError: If a value has the wrong type or lies outside its range.
    """

    config_folder: ClassVar[str] = "model"

    buffer: str | None = setting(
        None,
        "transitions to learn from: a replay buffer of train-sac (.safetensors) or Stable-Baselines3 (.pkl), episodes "
        "(.npz) or minari:ID",
        flag="--buffer",
        metavar="FILE",
    )
    test_buffer: str | None = setting(
        None,
        "trajectories to test with, in the same formats; absent to hold out whole episodes of the buffer",
        flag="--test-buffer",
        metavar="FILE",
    )
    mode: Literal["mlp", "rpp", "emlp"] = setting("mlp", "plain network, symmetry as a soft prior, or as a law")
    group: str | None = setting(
        None,
        "symmetry group, one of the variants of the environment's specification; absent for the largest one",
        flag="--group",
        metavar="NAME",
    )

    n_chunks: int = setting(5000, "chunks to learn from; fewer if the buffer holds fewer", at_least=1)
    chunk_length: int = setting(10, "steps of a chunk, and of the rollouts whose error is minimised", at_least=1)
    n_test: int = setting(50, "held-out trajectories to test with", at_least=1)
    test_length: int = setting(100, "steps of each test trajectory", at_least=1)
    validation: float = setting(
        0.1,
        "share of the episodes to learn from that chooses the epoch instead: the model keeps the weights with the "
        "lowest loss on their chunks; 0 for those of the last epoch",
        at_least=0,
        at_most=0.9,
    )
    data_seed: int = setting(
        0,
        "seed that divides the data; separate from seed, so that runs with several seeds share one test set",
        at_least=0,
    )

    n_epochs: int = setting(500, "passes through the chunks", at_least=1, flag="--epochs")
    patience: int | None = setting(
        None, "stop after this many epochs without a better loss on the validation chunks; absent for never", at_least=1
    )
    seed: int | None = setting(
        None,
        "seed of weights and order of chunks; drawn and recorded when absent",
        at_least=0,
        at_most=2**32 - 1,
        flag="--seed",
    )
    device: str = setting(
        "auto", "device of the model: auto, cpu, cuda, cuda:1, ...", flag="--device", metavar="DEVICE"
    )
    save_freq: int = setting(25, "epochs between two checkpoints", at_least=1, flag="--save-freq")

    augment: bool = setting(False, "move every sampled chunk by a random element of the group", flag="--augment")
    batch_size: int = setting(500, "chunks per update", at_least=1)
    learning_rate: float = setting(1e-2, "step size of Adam, which falls to zero along half a cosine", at_least=0)
    net_arch: tuple[int, ...] = setting((256, 256), "widths of the hidden layers", at_least=1)
    equal_parameters: bool = setting(
        False,
        "choose widths for which both pathways together have as many parameters as --mlp has with net_arch",
        flag="--equal-parameters",
    )
    hidden: str | None = setting(
        None, "hidden representation: regular, uniform or an expression; absent for uniform if the group is infinite"
    )
    activation: Literal["relu", "silu", "tanh"] = setting("silu", "nonlinearity of the hidden layers")
    head: Literal["deterministic", "gaussian"] = setting(
        "deterministic", "predict a state, or a state and its standard deviation"
    )
    ensemble: int | None = setting(
        None, "number of models trained together; absent for a single one", at_least=1, flag="--ensemble"
    )
    layer_norm: bool = setting(False, "equivariant layer norm in the hidden layers")
    inner_residual: bool = setting(
        True,
        "give the maps between hidden layers a residual pathway too; without it a soft model of equal parameters is "
        "much wider",
    )
    residual_decay: float | Literal["auto"] | None = setting(
        "auto",
        "decay of the residual pathway relative to the learning rate; 'auto' for one that trusts the symmetry as far "
        "as it was measured to hold, or none beside a Gaussian prior; null for none",
        at_least=0,
    )
    subgroup: tuple[str, ...] = setting(
        (),
        "generators of the group by name, such as [f] for the Ant's flip: what commutes with these alone has a level "
        "of its own between both pathways of a soft model",
    )
    subgroup_decay: float = setting(0.1, "decay of that level, relative to the residual pathway's", at_least=0)
    equiv_var: float | None = setting(
        None, "variance of the paper's Gaussian prior in the loss for the equivariant pathway; null for none"
    )
    residual_var: float | None = setting(None, "the same for the residual pathway")

    @property
    def method(self) -> str:
        """The name of the method that learns, after which the folders of its runs are named."""
        return METHODS[self.mode]
