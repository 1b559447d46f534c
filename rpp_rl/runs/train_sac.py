"""Training an agent by soft actor-critic with the symmetry of the robot as a soft prior."""

import dataclasses
import math
import secrets
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass
from pathlib import Path

from stable_baselines3.common.callbacks import CallbackList
from stable_baselines3.common.vec_env import VecEnv

from envs_reps.tasks import TASKS
from rpp_rl.agents import TrainedAgent, registry
from rpp_rl.agents.trained_agent import take_over
from rpp_rl.envs.spec import EnvSpec, Generator, percent
from rpp_rl.io.border import UserError, user_input
from rpp_rl.io.run_folder import RunFolder
from rpp_rl.model_based import ModelBasedRPPSAC
from rpp_rl.runs.callbacks import Checkpoints, Displacement, Evaluation, Interrupted, Progress, StopRequest, report
from rpp_rl.runs.checkpoint import load_checkpoint, read_checkpoint, rewind, save_agent, saved_steps
from rpp_rl.runs.divergence import DivergenceWatch, explaining_divergence
from rpp_rl.runs.environments import derived_seed, make_vec_env, prepare_torch, specification
from rpp_rl.runs.finite_env import FiniteVecEnv
from rpp_rl.runs.measured_spec import measured_spec
from rpp_rl.runs.training_state import restore_training
from rpp_rl.sac import RPPSAC, SymmetryCallback, algorithm_for
from rpp_rl.sac.config import SACConfig

RESUMPTION = 2
"""The purpose of the seeds of a resumed run, where its environments begin new episodes, see `derived_seed`."""


@dataclass(frozen=True)
class SACRun:
    """What a training left.

    Attributes:
        folder: Its files.
        agent: The agent at its end.
        is_complete: Whether all steps were made; if not, it was interrupted and saved.
        status: The status for the shell: 0, or 128 + n if signal n asked it to stop.
    """

    folder: RunFolder
    agent: RPPSAC
    is_complete: bool
    status: int = 0


def train_sac(
    config: SACConfig,
    folder: RunFolder | None = None,
    *,
    source: TrainedAgent | None = None,
    force_spec: bool = False,
    command_line: str = "",
    progress: bool = False,
    verbose: int = 0,
) -> SACRun:
    """Train an agent from the start or from another one; given the folder of a run, go on from its newest checkpoint.

    Args:
        config: All settings.
        folder: The run to continue.
        source: The agent to train further in a new run.
        force_spec: Whether to train with a specification from a file that its check refutes.
        command_line: How the run was asked for, for the record.
        progress: Whether to show a bar.
        verbose: 1 to print the log as a table too.

    Returns:
        The agent and where it is; it is saved whether the training was interrupted or not.

    Raises:
        UserError: If a setting does not fit the environment or the machine.
        OSError: If a file cannot be read or written.
    """
    prepare_torch(config.device, config.num_threads, strict_float32=config.strict_float32)
    seed = secrets.randbelow(2**31) if config.seed is None else config.seed
    config = dataclasses.replace(config, seed=seed)
    with ExitStack() as stack, ExitStack() as undo:
        eval_envs = stack.enter_context(closing(_make_envs(config, config.n_eval_envs)))
        if folder is None:
            spec = specification(config, eval_envs) if source is None else source.spec
            config = dataclasses.replace(config, group=None if spec is None else spec.variant)
            if spec is not None and source is None:
                spec = measured_spec(config, spec, force=force_spec)
            agent, folder = _start(config, spec, source, stack, undo)
        else:
            agent = _resume(config, folder, stack)
        folder.write_settings(config, command_line, agent.num_timesteps)
        return _train(config, agent, folder, eval_envs, undo, progress=progress, verbose=verbose)


def build_agent(config: SACConfig, spec: EnvSpec | None, envs: VecEnv) -> RPPSAC:
    """A fresh agent.

    Raises:
        ValueError: If a setting does not fit the specification.
        MemoryError: If the replay buffer does not fit into the memory.
    """
    settings = config.agent_kwargs()
    # SB3 counts a step of all environments as one; here the updates per transition are those of one environment.
    settings["gradient_steps"] = max(-1, config.gradient_steps * config.n_envs)
    algorithm = algorithm_for(envs)
    if config.model_based:
        algorithm = ModelBasedRPPSAC
        settings |= config.model_kwargs() | _known_task(config.env)
    return algorithm(
        "RPPPolicy",
        envs,
        policy_kwargs={
            "spec": None if spec is None else spec.to_dict(),
            "optimizer_kwargs": {"betas": list(config.optimizer_betas)},
            **config.policy_kwargs(),
        },
        **settings,
    )


def _known_task(env_id: str) -> dict[str, object]:
    """Reward and end of the task as functions of observations, where there are any; the agent checks them."""
    known = TASKS.get(env_id)
    return {} if known is None else {"reward": known.reward, "terminated": known.terminated}


def _make_envs(config: SACConfig, n_envs: int, folder: RunFolder | None = None, *, append: bool = False) -> VecEnv:
    assert config.seed is not None
    return make_vec_env(
        config.env,
        config.env_kwargs,
        n_envs=n_envs,
        seed=config.seed,
        vec_env=config.vec_env,
        monitor_folder=None if folder is None else folder.path,
        append=append,
    )


def _start(
    config: SACConfig, spec: EnvSpec | None, source: TrainedAgent | None, stack: ExitStack, undo: ExitStack
) -> tuple[RPPSAC, RunFolder]:
    """A fresh agent, with the weights of another if there is one, in a folder that goes away if it cannot begin."""
    folder = RunFolder.create(Path(config.log_folder) / config.method, config.env)
    undo.callback(folder.remove)
    stack.enter_context(folder.locked())
    envs = stack.enter_context(closing(_make_envs(config, config.n_envs, folder)))
    with user_input(ValueError, MemoryError):
        agent = build_agent(config, spec, envs)
        if source is not None:
            take_over(agent, source)
    algorithm = config.method if config.mode == "mlp" else f"{config.method} ({config.group})"
    origin = "" if source is None else f" from {registry.name_of(source.path)}, trained for {source.n_steps} steps,"
    report(f"training {algorithm} on {config.env}{origin} with seed {config.seed} in {folder.path}")
    if source is None and config.n_timesteps <= config.learning_starts:
        report(f"nothing will be learned: updates begin after {config.learning_starts} steps (learning_starts)")
    if spec is not None and config.mode != "mlp":
        for record in spec.generators:
            if not record.is_exact:
                report(_inexact(record))
    return agent, folder


def _inexact(record: Generator) -> str:
    """What the simulator says about a generator that is no exact symmetry of dynamics, reward and termination."""
    if record.error_1_step is not None and record.error_1_step < 5e-4 and not record.keeps_reward:
        return (
            f"the symmetry {record.name} ({record.meaning}) is exact for the dynamics, but it changes reward or "
            "termination (check-spec measures it)"
        )
    error = (
        "not measured"
        if record.error_1_step is None
        else f"{percent(record.error_1_step)} of the state's change in one step"
    )
    reward = "" if record.keeps_reward else ", and it changes reward or termination"
    return (
        f"the symmetry {record.name} ({record.meaning}) is not exact: its error is {error}{reward} "
        "(check-spec measures it)"
    )


def _resume(config: SACConfig, folder: RunFolder, stack: ExitStack) -> RPPSAC:
    """The agent of the newest checkpoint, with everything recorded after it removed."""
    assert config.seed is not None
    stack.enter_context(folder.locked())
    checkpoint = read_checkpoint(folder)
    n_steps = checkpoint.mark.n_steps
    # A run that was stopped in its last evaluation or before its last file has made its steps but is not finished.
    if n_steps >= config.n_timesteps and saved_steps(folder.agent) == n_steps:
        raise UserError(f"{folder.path} has made its {n_steps} steps; give more with -n to continue")
    envs = stack.enter_context(closing(_make_envs(config, config.n_envs, folder, append=True)))
    algorithm = ModelBasedRPPSAC if config.model_based else algorithm_for(envs)
    agent = load_checkpoint(folder, checkpoint, config.device, envs, algorithm)
    if isinstance(agent, ModelBasedRPPSAC):
        for name, function in _known_task(config.env).items():
            setattr(agent, name, function)
    agent.compile = config.compile
    kinds = (KeyError, TypeError, ValueError, RuntimeError, AttributeError)
    with user_input(*kinds, about=f"{folder.replay_buffer} holds no state of a training"):
        reason = restore_training(agent, checkpoint.state, envs, derived_seed(config.seed, RESUMPTION, n_steps))
    rewind(folder, checkpoint.mark)
    report(f"resuming {folder.path} after {n_steps} of {config.n_timesteps} steps")
    if reason is not None:
        report(f"new episodes begin, because the environment cannot continue the old ones: {reason}")
    return agent


def _train(
    config: SACConfig,
    agent: RPPSAC,
    folder: RunFolder,
    eval_envs: VecEnv,
    undo: ExitStack,
    *,
    progress: bool,
    verbose: int,
) -> SACRun:
    """Learn until all steps are made or the user asks to stop; progress is saved either way."""
    assert config.seed is not None
    agent.set_logger(folder.logger(config.tensorboard_log, verbose))
    stop = StopRequest()
    evaluation = Evaluation(folder, eval_envs, config.eval_episodes, config.eval_freq, stop.check, config.seed)
    checkpoints = Checkpoints(
        folder,
        config.save_freq,
        agent.num_timesteps,
        keep_buffer=config.save_replay_buffer,
        is_asked=stop.take_save_request,
    )
    bar = Progress()
    watch = DivergenceWatch()
    shown = [Displacement(), SymmetryCallback(), *([bar] if progress else [])]
    callbacks = CallbackList([stop, watch, evaluation, checkpoints, *shown])
    hint = f"; continue with: train-sac --resume {folder.path}" if config.save_replay_buffer else ""
    try:
        with (
            stop.listening(),
            user_input(FloatingPointError),
            explaining_divergence(agent),
            _saving_after_errors(agent, checkpoints, hint),
        ):
            undo.pop_all()  # from here on a signal saves
            try:
                n_steps = config.n_timesteps - agent.num_timesteps
                agent.learn(n_steps, callbacks, config.log_interval, reset_num_timesteps=False)
            except Interrupted:
                checkpoints.act()
                report(f"interrupted after {agent.num_timesteps} steps and saved{hint}")
                return SACRun(folder, agent, is_complete=False, status=stop.status)
            save_agent(agent, folder.agent)
    finally:
        bar.close()
    best = f", best mean return {evaluation.best:.1f}" if math.isfinite(evaluation.best) else ""
    report(f"done: {agent.num_timesteps} steps{best}; the agent is {folder.agent}")
    return SACRun(folder, agent, is_complete=True, status=stop.status)


@contextmanager
def _saving_after_errors(agent: RPPSAC, checkpoints: Checkpoints, hint: str) -> Iterator[None]:
    """Save what was learnt before an error of the environment ends the run; the error goes on."""
    try:
        yield
    except Exception:
        envs = agent.get_env()
        if isinstance(envs, FiniteVecEnv) and envs.has_failed:
            checkpoints.act_after_error()
            report(f"the environment failed after {agent.num_timesteps} steps, which are saved{hint}")
        raise
