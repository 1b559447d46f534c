"""What happens beside the training: evaluations, checkpoints, progress, and the wish to stop.

All of it happens between two rounds of updates, when the number of steps, the replay buffer and the networks agree; a
checkpoint taken inside a step would lack the transition of that step.
"""

import math
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any

import numpy as np
from stable_baselines3.common.callbacks import BaseCallback
from stable_baselines3.common.evaluation import evaluate_policy
from stable_baselines3.common.vec_env import VecEnv
from tqdm import tqdm

from rpp_rl.io.run_folder import RunFolder
from rpp_rl.runs.checkpoint import save_agent, save_checkpoint
from rpp_rl.runs.divergence import require_finite
from rpp_rl.runs.environments import SIGNALS, derived_seed
from rpp_rl.sac import RPPSAC

EVALUATION = 1
"""The purpose of the seeds of evaluations, see `derived_seed`."""


def report(line: str) -> None:
    """Print a line at once, above the bar if there is one."""
    with tqdm.external_write_mode():
        print(line, flush=True)


MIN_STEPS_OF_RATE = 50
"""Steps after which it is said how long the rest will take; the first ones take longer."""

SAME_PRESS = 0.5
"""Seconds within which a second Ctrl-C is the first one, arriving twice."""


class Interrupted(Exception):  # noqa: N818
    """The user asked the run to stop; raised where its state is consistent."""


class StopRequest(BaseCallback):
    """Notes Ctrl-C, SIGTERM and SIGHUP, and ends the training at the next consistent moment; SIGUSR1 asks to save.

    Attributes:
        number: The signal that asked to stop; None while none has.
    """

    def __init__(self) -> None:
        super().__init__()
        self.number: int | None = None
        self.noted_at = 0.0
        self.wants_checkpoint = False

    @contextmanager
    def listening(self) -> Iterator[None]:
        """Listen for the signals.

        Batch systems repeat theirs, so only Ctrl-C acts at once the second time, if it is not the same press.
        """
        if threading.current_thread() is not threading.main_thread():
            yield  # signals reach the main thread only
            return
        before = {number: signal.getsignal(number) for number in SIGNALS}
        if before[signal.SIGHUP] == signal.SIG_IGN:
            del before[signal.SIGHUP]  # started with nohup

        def note(number: int, frame: FrameType | None) -> None:
            if number == signal.SIGUSR1:
                self.wants_checkpoint = True
            elif self.number is None:
                self.number = number
                self.noted_at = time.monotonic()
            elif number == signal.SIGINT and time.monotonic() - self.noted_at > SAME_PRESS:
                raise KeyboardInterrupt

        for number in before:
            signal.signal(number, note)
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)

    @property
    def status(self) -> int:
        """What the shell is told: 0, or 128 and the number of the signal."""
        return 0 if self.number is None else 128 + self.number

    def take_save_request(self) -> bool:
        """Whether somebody asked for a checkpoint since the last call."""
        asked, self.wants_checkpoint = self.wants_checkpoint, False
        return asked

    def check(self, *_: object) -> None:
        """End the training if asked to.

        Raises:
            Interrupted: If so.
        """
        if self.number is not None:
            raise Interrupted

    def _on_rollout_start(self) -> None:
        self.check()

    def _on_step(self) -> bool:
        return True


class Periodic(BaseCallback):
    """Acts whenever ``every`` more steps have been made.

    Args:
        every: Number of steps.
        last: Number of steps at which it acted last, in a run that goes on.
    """

    model: RPPSAC  # pyright: ignore[reportIncompatibleVariableOverride]

    def __init__(self, every: int, last: int = 0) -> None:
        super().__init__()
        self.every = every
        self.due = (last // every + 1) * every

    def act(self) -> None:
        """What is to be done."""
        raise NotImplementedError

    def _on_rollout_start(self) -> None:
        n_steps = self.model.num_timesteps
        if n_steps >= self.due:
            self.act()
            self.due = (n_steps // self.every + 1) * self.every

    def _on_training_end(self) -> None:
        self._on_rollout_start()

    def _on_step(self) -> bool:
        return True


class Evaluation(Periodic):
    """Plays episodes with the deterministic policy, keeps the returns and the best agent.

    Args:
        folder: Where ``evaluations.npz`` and ``best_model.zip`` are written; the history in it is continued.
        envs: Environments used for nothing else.
        n_episodes: Episodes per evaluation.
        every: Steps between evaluations.
        check_stop: Called at every step of an evaluation; may end it.
        seed: Seed of the run. Every evaluation has seeds of its own, so that it does not depend on those before.
    """

    def __init__(
        self, folder: RunFolder, envs: VecEnv, n_episodes: int, every: int, check_stop: Callable[..., None], seed: int
    ) -> None:
        self.history = folder.load_evaluations()
        timesteps, results, _ = self.history
        super().__init__(every, last=int(timesteps[-1]) if len(timesteps) else 0)
        self.folder, self.envs, self.n_episodes, self.check_stop = folder, envs, n_episodes, check_stop
        self.seed = seed
        self.best = max((float(np.mean(returns)) for returns in results), default=-np.inf)
        self.started = (time.monotonic(), 0)

    def _on_training_start(self) -> None:
        self.started = (time.monotonic(), self.model.num_timesteps)

    def act(self) -> None:
        """Evaluate the agent."""
        require_finite(self.model)
        self.envs.seed(derived_seed(self.seed, EVALUATION, self.model.num_timesteps))
        returns, lengths = evaluate_policy(
            self.model, self.envs, self.n_episodes, callback=self.check_stop, return_episode_rewards=True
        )
        n_steps, mean, std = self.model.num_timesteps, float(np.mean(returns)), float(np.std(returns))
        new = np.array([n_steps]), np.array([returns]), np.array([lengths])
        self.history = tuple(
            np.concatenate(pair) if len(pair[0]) else pair[1] for pair in zip(self.history, new, strict=True)
        )
        if mean > self.best:
            self.best = mean
            save_agent(self.model, self.folder.best_agent)
        self.folder.save_evaluations(*self.history)
        self.logger.record("eval/mean_reward", mean)
        self.logger.record("eval/mean_ep_length", float(np.mean(lengths)))
        self.model.dump_logs()
        self._report(mean, std)

    def _report(self, mean: float, std: float) -> None:
        n_steps, total = self.model.num_timesteps, self.model._total_timesteps
        line = f"step {n_steps}/{total}: return {mean:.1f} ± {std:.1f}, best {self.best:.1f}"
        started_at, first_step = self.started
        if n_steps - first_step >= MIN_STEPS_OF_RATE:
            rate = (n_steps - first_step) / (time.monotonic() - started_at)
            line += f", {rate:.0f} steps/s, {tqdm.format_interval(max(0, total - n_steps) / rate)} left"
        report(line)


class Checkpoints(Periodic):
    """Writes the agent and the replay buffer, at the end too, so that a finished run can be continued.

    Args:
        folder: Where.
        every: Steps between checkpoints.
        last: Steps at the checkpoint from which the run goes on.
        keep_buffer: Whether the replay buffer is written too.
        is_asked: Called before every step; whether somebody asked for a checkpoint.
    """

    def __init__(
        self, folder: RunFolder, every: int, last: int, *, keep_buffer: bool, is_asked: Callable[[], bool]
    ) -> None:
        super().__init__(every, last)
        self.folder, self.keep_buffer = folder, keep_buffer
        self.saved_at = last or None
        self.is_asked = is_asked
        self.is_between_steps = True
        self.has_warned = False

    def act(self) -> None:
        """Write a checkpoint, unless there is one of this step.

        A second agent of one step would differ from the first in its hash, and until its buffer was written too the
        buffer there would belong to none.
        """
        n_steps = self.model.num_timesteps
        if n_steps == self.saved_at:
            return
        require_finite(self.model)
        reason = save_checkpoint(
            self.folder, self.model, keep_buffer=self.keep_buffer, is_between_steps=self.is_between_steps
        )
        self.saved_at = n_steps
        if reason is not None and not self.has_warned:
            self.has_warned = True
            report(f"a resumed run will begin a new episode, and differ from one that was never stopped: {reason}")

    def act_after_error(self) -> None:
        """Write a checkpoint although the environments have failed in the middle of a step."""
        self.is_between_steps = False
        self.act()

    def _on_rollout_start(self) -> None:
        super()._on_rollout_start()
        if self.is_asked():
            self.act()
            report(f"step {self.model.num_timesteps}: saved a checkpoint, as a signal asked for")

    def _on_training_end(self) -> None:
        self.act()


class Displacement(BaseCallback):
    """Logs how far the robot has moved in the training episodes that ended since the last record."""

    def _on_step(self) -> bool:
        for info in self.locals["infos"]:
            displacement = info.get("episode", {}).get("x_displacement", math.nan)
            if math.isfinite(displacement):
                self.logger.record_mean("rollout/x_displacement", displacement)
        return True


class Progress(BaseCallback):
    """A bar on stderr with steps per second, the last return and the time left."""

    bar: tqdm

    def _on_training_start(self) -> None:
        n_steps = self.model.num_timesteps
        self.bar = tqdm(total=self.model._total_timesteps, initial=n_steps, unit="step", dynamic_ncols=True)

    def _on_step(self) -> bool:
        infos: list[dict[str, Any]] = self.locals["infos"]
        for info in infos:
            if "episode" in info:
                self.bar.set_postfix_str(f"return {info['episode']['r']:.1f}", refresh=False)
        self.bar.update(len(infos))
        return True

    def close(self) -> None:
        """Leave the bar as it stands."""
        if hasattr(self, "bar"):
            self.bar.close()
