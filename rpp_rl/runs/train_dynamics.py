"""Training a model of the dynamics with the symmetry of the robot as a soft prior."""

import dataclasses
import math
import secrets
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from tqdm import tqdm

import envs_reps
from rpp_rl.dynamics.config import MODEL_DECAY, ModelConfig
from rpp_rl.dynamics.model import TransitionModel, widths_of_equal_size
from rpp_rl.dynamics.model_file import MODEL_FILE, TEST_FILE, read_model, save_model
from rpp_rl.dynamics.readers import read_episodes, write_episodes
from rpp_rl.dynamics.training import Trainer
from rpp_rl.dynamics.trajectories import Division, Episodes, require_disjoint, sample_chunks, split
from rpp_rl.envs.spec import EnvSpec
from rpp_rl.envs.spec_file import read_spec
from rpp_rl.io.border import UserError, user_input
from rpp_rl.io.run_folder import RunFolder
from rpp_rl.nn import Prior, pathway_norms, residual_decay
from rpp_rl.runs.callbacks import Interrupted, StopRequest, report
from rpp_rl.runs.environments import prepare_torch

VALIDATION = "validation"
"""Under this name the file of a model says which share of its episodes was validated on."""
IS_COMPLETE = "is_complete"
"""Under this one, whether its training is over."""


@dataclass(frozen=True)
class DynamicsRun:
    """What a training left.

    Attributes:
        folder: Its files.
        model: The model at its end.
        is_complete: Whether all epochs were made; if not, it was interrupted and saved.
        status: The status for the shell: 0, or 128 + n if signal n asked it to stop.
    """

    folder: RunFolder
    model: TransitionModel
    is_complete: bool
    status: int = 0


def train_dynamics(
    config: ModelConfig,
    folder: RunFolder | None = None,
    *,
    trust: bool = False,
    command_line: str = "",
    progress: bool = False,
) -> DynamicsRun:
    """Train a model from the start or, given the folder of a run, from its newest checkpoint.

    Args:
        config: All settings.
        folder: The run to continue.
        trust: Whether a pickled buffer may run, see `rpp_rl.dynamics.read_episodes`.
        command_line: How the run was asked for, for the record.
        progress: Whether to show a bar.

    Returns:
        The model and where it is; it is saved whether the training was interrupted or not.

    Raises:
        UserError: If a setting does not fit the data or the machine, or the training diverges.
        OSError: If a file cannot be read or written.
    """
    prepare_torch(config.device, config.num_threads, strict_float32=config.strict_float32)
    with ExitStack() as stack:
        if folder is not None:
            stack.enter_context(folder.locked())
            config, trainer, checksum = _resume(config, folder, trust)
        else:
            with user_input(ValueError):
                spec = _specification(config)
                data, checksum = _data(config, spec, trust)
            seed = secrets.randbelow(2**31) if config.seed is None else config.seed
            config = dataclasses.replace(config, seed=seed, group=spec.variant)
            trainer = _start(config, spec, data)
            folder = RunFolder.create(Path(config.log_folder) / config.method, config.env)
            stack.enter_context(folder.locked())
            write_episodes(data.test.episodes(), folder.path / TEST_FILE)
            report(f"training {_in_words(config, trainer.model)} in {folder.path}")
            report(_data_in_words(data))
        folder.write_settings(config, command_line, trainer.epoch)
        return _train(config, trainer, folder, checksum, progress=progress)


def _in_words(config: ModelConfig, model: TransitionModel) -> str:
    symmetry = "" if config.mode == "mlp" and not config.augment else f" ({config.group})"
    members = "" if config.ensemble is None else f" in each of {config.ensemble} members"
    numbers = f"{model.n_parameters} parameters{members}, widths {list(model.widths)}"
    return f"{config.method}{symmetry} of {config.env} with seed {config.seed}, {numbers},"


def _data_in_words(data: Division) -> str:
    validation = "none" if data.validation is None else len(data.validation)
    return (
        f"{len(data.train)} chunks of {data.train.time} steps, {validation} to validate on, {len(data.test)} test "
        f"trajectories of {data.test.time} steps"
    )


def _specification(config: ModelConfig) -> EnvSpec:
    """The symmetry to train with; by default the largest one that the dynamics have, whatever the reward does."""
    if config.spec is None:
        return envs_reps.load(config.env, config.group or envs_reps.dynamics_group(config.env))
    spec = read_spec(Path(config.spec))
    if config.group not in (None, spec.variant):
        raise ValueError(f"{config.spec} is for the group {spec.variant}, so --group {config.group} cannot be given")
    return dataclasses.replace(spec, env_id=config.env)


def divide(episodes: Episodes, config: ModelConfig) -> Division:
    """Chunks to learn from and to validate on, and trajectories to test with, as the settings say."""
    return split(
        episodes,
        n_chunks=config.n_chunks,
        chunk_length=config.chunk_length,
        n_test=config.n_test,
        test_length=config.test_length,
        seed=config.data_seed,
        validation=config.validation,
    )


def _data(config: ModelConfig, spec: EnvSpec, trust: bool) -> tuple[Division, str]:
    """The data, divided, and the checksum of what they were cut from."""
    if config.buffer is None:
        raise ValueError("no data given: add --buffer FILE, such as the replay_buffer.safetensors of a run")
    episodes = _episodes(config.buffer, config.env, spec, trust)
    if config.test_buffer is None:
        data = divide(episodes, config)
    else:
        others = _episodes(config.test_buffer, config.env, spec, trust)
        require_disjoint(episodes, others)
        rng = np.random.default_rng(config.data_seed)
        chunks = sample_chunks(episodes, config.n_chunks, config.chunk_length, config.validation, rng)
        data = Division(*chunks, others.sample_windows(config.test_length, config.n_test, rng))
    if config.test_length < config.chunk_length:
        raise ValueError(
            f"test trajectories must be as long as the chunks, got {config.test_length} and {config.chunk_length} steps"
        )
    return data, episodes.checksum


def _episodes(source: str, env_id: str, spec: EnvSpec, trust: bool) -> Episodes:
    episodes = read_episodes(source, env_id, trust=trust)
    sizes = episodes.states[0].shape[1], episodes.actions[0].shape[1]
    if sizes != (spec.observation.size, spec.action.size):
        raise ValueError(
            f"{source}: expected observations of {spec.observation.size} and actions of {spec.action.size} numbers as "
            f"in {spec}, got {sizes[0]} and {sizes[1]}"
        )
    return episodes


def _start(config: ModelConfig, spec: EnvSpec, data: Division) -> Trainer:
    """A fresh model, ready to train."""
    assert config.seed is not None
    torch.manual_seed(config.seed)
    with user_input(ValueError):
        widths = config.net_arch
        if config.equal_parameters:
            widths = widths_of_equal_size(
                spec,
                widths,
                mode=config.mode,
                hidden=config.hidden,
                head=config.head,
                inner_residual=config.inner_residual,
                subgroup=config.subgroup,
            )
        model = TransitionModel(
            spec,
            mode=config.mode,
            widths=widths,
            hidden=config.hidden,
            activation=config.activation,
            ensemble=config.ensemble,
            head=config.head,
            layer_norm=config.layer_norm,
            inner_residual=config.inner_residual,
            subgroup=config.subgroup,
        )
        return _trainer(config, model, data)


class Resumed(NamedTuple):
    """A training in the middle, with its settings and the checksum of its data."""

    config: ModelConfig
    trainer: Trainer
    checksum: str


def _resume(config: ModelConfig, folder: RunFolder, trust: bool) -> Resumed:
    """The model of the newest checkpoint, in the middle of its training."""
    path = folder.path / MODEL_FILE
    if not path.exists():
        raise UserError(f"{folder.path} cannot be resumed: no checkpoint was reached; start a new run")
    with user_input(ValueError):
        model, about, state = read_model(path)
        if about.get(IS_COMPLETE) or len(state.get("history", [])) >= config.n_epochs:
            raise UserError(f"{folder.path} has made its {len(state['history'])} epochs")
        # Runs of former versions validated on nothing.
        config = dataclasses.replace(config, validation=about.get(VALIDATION, 0.0))
        data, checksum = _data(config, _specification(config), trust)
        if about.get("checksum") != checksum:
            raise UserError(f"{config.buffer} is not what {folder.path} was trained on: its checksum differs")
        if read_episodes(folder.path / TEST_FILE).checksum != data.test.episodes().checksum:
            raise UserError(f"an earlier version divided the data of {folder.path} differently: start a new run")
        trainer = _trainer(config, model, data)
        trainer.load_state(state)
    report(f"resuming {folder.path} after {trainer.epoch} of {config.n_epochs} epochs")
    return Resumed(config, trainer, checksum)


def _trainer(config: ModelConfig, model: TransitionModel, data: Division) -> Trainer:
    assert config.seed is not None
    decay = config.residual_decay
    if decay == "auto":
        # One prior is enough: beside a Gaussian, a decay that was left open is none. The reward is no part of a model.
        trusted = model.spec if model.level is None else model.level.spec
        decay = residual_decay(trusted.error, MODEL_DECAY) if config.residual_var is None else None
    device = "cuda" if torch.cuda.is_available() else "cpu"
    return Trainer(
        model.to(device if config.device == "auto" else config.device).train(),
        data.train,
        data.test,
        validation=data.validation,
        batch_size=config.batch_size,
        learning_rate=config.learning_rate,
        n_epochs=config.n_epochs,
        patience=config.patience,
        residual_decay=decay if model.mode == "rpp" else None,
        subgroup_decay=config.subgroup_decay,
        prior=Prior(config.equiv_var, config.residual_var),
        augment=config.augment,
        seed=config.seed,
    )


def _train(config: ModelConfig, trainer: Trainer, folder: RunFolder, checksum: str, *, progress: bool) -> DynamicsRun:
    """Learn until all epochs are made or the user asks to stop; progress is saved either way."""
    logger = folder.logger(config.tensorboard_log)
    path = folder.path / MODEL_FILE
    stop = StopRequest()

    def save() -> None:
        about = {"checksum": checksum, VALIDATION: config.validation, IS_COMPLETE: trainer.is_complete}
        # Of a training that is over, nobody needs the moments of the optimiser.
        state = {"history": torch.from_numpy(trainer.history)} if trainer.is_complete else trainer.state()
        save_model(trainer.model, path, about=about, extra=state)

    bar = tqdm(total=config.n_epochs, initial=trainer.epoch, unit="epoch", dynamic_ncols=True, disable=not progress)
    try:
        with stop.listening(), bar, user_input(FloatingPointError):
            while not trainer.is_complete:
                stop.check()
                trainer.run_epoch()
                loss, validation_loss, test_loss = trainer.history[-1]
                equiv, residual = pathway_norms(trainer.model)
                for name, value in (
                    ("train/loss", loss),
                    ("validation/loss", validation_loss),
                    ("test/loss", test_loss),
                    ("weights/equiv_norm", equiv),
                    ("weights/residual_norm", residual),
                ):
                    if not math.isnan(value):
                        logger.record(name, value)
                logger.dump(trainer.epoch)
                bar.set_postfix_str(f"loss {loss:.4g}, test {test_loss:.4g}", refresh=False)
                bar.update()
                if trainer.epoch % config.save_freq == 0 and not trainer.is_complete:
                    save()
    except Interrupted:
        if trainer.epoch == 0:
            report(f"interrupted before the end of the first epoch; nothing was saved in {folder.path}")
        else:
            save()
            hint = f"continue with: train-model --resume {folder.path}"
            report(f"interrupted after {trainer.epoch} epochs and saved; {hint}")
        return DynamicsRun(folder, trainer.model, is_complete=False, status=stop.status)
    finally:
        logger.close()
    trainer.finish()
    save()
    report(f"done: {_result_in_words(trainer)}; the model is {path}")
    return DynamicsRun(folder, trainer.model, is_complete=True, status=stop.status)


def _result_in_words(trainer: Trainer) -> str:
    chosen = trainer.best_epoch or trainer.epoch
    loss, validation_loss, test_loss = trainer.history[chosen - 1]
    text = f"{trainer.epoch} epochs"
    if trainer.best_epoch:
        text += f", the best {chosen} with loss {validation_loss:.4g} on the validation chunks"
    return f"{text}, loss {loss:.4g}, on the test trajectories {test_loss:.4g}"
