"""Folders of runs as trainings leave them, made in milliseconds."""

import json
from collections import OrderedDict

import numpy as np
import yaml
from tensorboard.compat.proto.event_pb2 import Event
from tensorboard.compat.proto.summary_pb2 import Summary
from tensorboard.summary.writer.event_file_writer import EventFileWriter

STEPS = 10_000


def make_run(folder, env="Hopper-v5", *, seed=0, slope=1.0, n_evaluations=10, total=None, scalars=None, **settings):
    """A run whose evaluations after 10k, 20k, ... steps have two episodes around slope * number of the evaluation."""
    config = {"mode": "mlp", "net_arch": [256, 256], **settings}
    config |= {"env": env, "seed": seed, "eval_freq": STEPS, "n_timesteps": total or n_evaluations * STEPS}
    (folder / env).mkdir(parents=True)
    (folder / env / "config.yml").write_text(yaml.safe_dump(config))
    if n_evaluations:
        steps = STEPS * np.arange(1, n_evaluations + 1)
        means = slope * np.arange(1, n_evaluations + 1)
        results = np.stack([means - 1, means + 1], axis=1)
        np.savez(folder / "evaluations.npz", timesteps=steps, results=results, ep_lengths=np.ones_like(results))
    if scalars:
        write_scalars(folder, scalars)
    return folder


def write_scalars(folder, scalars):
    """One TensorBoard file, as a training or a resumed one adds it."""
    writer = EventFileWriter(str(folder))
    for tag, points in scalars.items():
        for step, value in points.items():
            summary = Summary(value=[Summary.Value(tag=tag, simple_value=value)])
            writer.add_event(Event(wall_time=0.0, step=step, summary=summary))
    writer.close()


def make_zoo_run(folder, env="Hopper-v5", seed=0, slope=1.0):
    """A run as rl-baselines3-zoo leaves it, its settings pickled into YAML."""
    make_run(folder, env, slope=slope)
    args = {"algo": "sac", "env": env, "eval_freq": STEPS, "n_timesteps": -1, "seed": seed}
    (folder / env / "args.yml").write_text(yaml.dump(OrderedDict(args)))
    config = {"n_timesteps": 100_000.0, "policy": "MlpPolicy", "policy_kwargs": "dict(net_arch=[400])"}
    (folder / env / "config.yml").write_text(yaml.dump(OrderedDict(config)))
    return folder


def make_job(folder, name, **run):
    """A run as a part of an experiment, with the name of its arm."""
    make_run(folder / "sac" / "Hopper-v5_1", **run)
    (folder / "job.json").write_text(json.dumps({"variant": name}))
