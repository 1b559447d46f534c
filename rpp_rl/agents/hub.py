"""Agents on the Hugging Face hub, in the layout of rl-baselines3-zoo with the safe file beside its zip file.

A repository ``org/name`` holds ``name.safetensors``, the only file that is ever loaded from it; ``name.zip`` for users
of Stable-Baselines3; ``config.yml`` and ``args.yml``; ``results.json``; ``replay.mp4`` if there is one; and a card.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import yaml

from rpp_rl.agents.agent_file import save_agent
from rpp_rl.agents.card import to_markdown
from rpp_rl.agents.errors import AgentError
from rpp_rl.agents.find import SCHEME
from rpp_rl.agents.trained_agent import TrainedAgent
from rpp_rl.io.extras import need
from rpp_rl.io.tensor_file import SUFFIX
from rpp_rl.sac import RPPSAC, RPPSACPolicy

VIDEO = "replay.mp4"


def download_agent(source: str) -> Path:
    """Fetch the safe file of an agent on the hub, or find it in the hub's cache. Nothing in a repository is executed.

    Args:
        source: ``hf://org/name`` or ``hf://org/name@revision``.

    Raises:
        AgentError: If there is no such repository or revision, it has no safe file, or the hub cannot be reached.
        MissingExtraError: If ``huggingface_hub`` is not installed.
    """
    hub = need("huggingface_hub", "hub")
    repo, _, revision = source.removeprefix(SCHEME).partition("@")
    _check_name(repo)
    file = f"{repo.split('/')[1]}{SUFFIX}"
    with _refusing(source, f"only {file} is ever loaded from there, since zip files can hold code"):
        path = Path(hub.HfApi().hf_hub_download(repo, file, revision=revision or None))
    with path.open("rb") as opened:
        if opened.read(2) == b"PK":
            raise AgentError(f"{source}: {file} is a zip file under the name of a safe one")
    return path


def push_agent(agent: TrainedAgent, repo: str, *, video: str | Path | None = None, private: bool = False) -> str:
    """Put an agent on the hub; the repository is created if necessary.

    Args:
        agent: An agent with a card.
        repo: ``org/name``; by the zoo's convention, the name is ``{method}-{environment}``.
        video: An ``.mp4`` of the agent.
        private: Whether a new repository is to be private.

    Returns:
        The address of the commit.

    Raises:
        AgentError: If the agent has no card, or the hub refuses or cannot be reached.
        MissingExtraError: If ``huggingface_hub`` is not installed.
        OSError: If the film cannot be read.
    """
    hub = need("huggingface_hub", "hub")
    _check_name(repo)
    with TemporaryDirectory() as folder:
        write_repository(agent, repo, Path(folder), video=video)
        with _refusing(f"{SCHEME}{repo}", "log in with 'hf auth login' if you may write there"):
            api = hub.HfApi()
            api.create_repo(repo, private=private, exist_ok=True)
            commit = api.upload_folder(repo_id=repo, folder_path=folder, commit_message=f"Agent of {agent.env_id}")
    return str(commit.commit_url)


def write_repository(agent: TrainedAgent, repo: str, folder: Path, *, video: str | Path | None = None) -> None:
    """Write the files of a repository into a folder.

    Args:
        agent: An agent with a card.
        repo: The repository, after which the files are named.
        folder: Where they go.
        video: An ``.mp4`` of the agent.

    Raises:
        AgentError: If the agent has no card.
        OSError: If a file cannot be read or written.
    """
    if "evaluation" not in agent.card:
        raise AgentError(f"{agent!r} has no card, so nothing is known about it; make one with pack-agent")
    name = repo.split("/")[1]
    save_agent(agent, folder / f"{name}{SUFFIX}")
    _sb3_model(agent).save(folder / f"{name}.zip")
    settings = yaml.safe_dump(agent.config, sort_keys=False, allow_unicode=True)
    card = to_markdown(f"{SCHEME}{repo}", agent.env_id, agent.card)
    header = yaml.safe_dump(_metadata(agent), sort_keys=False, allow_unicode=True)
    texts = {
        "config.yml": settings,
        "args.yml": settings,
        "results.json": json.dumps(_results(agent), indent=2),
        "README.md": f"---\n{header}---\n\n{card}",
    }
    for file, text in texts.items():
        (folder / file).write_text(text, encoding="utf-8")
    if video is not None:
        if Path(video).suffix != ".mp4":
            raise AgentError(f"{video}: expected an .mp4, as record-agent writes")
        (folder / VIDEO).write_bytes(Path(video).read_bytes())


def _sb3_model(agent: TrainedAgent) -> RPPSAC:
    """An agent as Stable-Baselines3 saves them, with fresh optimisers."""
    if not isinstance(agent.policy, RPPSACPolicy):
        raise AgentError(f"{agent!r}: only policies of this package can be pushed")
    # As SB3's own load makes a model without environment; it would ask the environment for the target entropy.
    model = RPPSAC(
        "RPPPolicy",
        env=None,  # pyright: ignore[reportArgumentType]
        policy_kwargs=agent.policy.network_kwargs,
        buffer_size=1,
        target_entropy=-float(np.prod(agent.action_space.shape)),
        device="cpu",
        _init_setup_model=False,
    )
    model.observation_space, model.action_space, model.n_envs = agent.observation_space, agent.action_space, 1
    model._setup_model()
    model.policy.load_state_dict(agent.policy.state_dict())
    model.num_timesteps = agent.n_steps
    return model


def _results(agent: TrainedAgent) -> dict[str, Any]:
    """The keys of the zoo."""
    record = agent.card["evaluation"]
    return {
        "mean_reward": record["mean_return"],
        "std_reward": record["std_return"],
        "is_deterministic": True,
        "n_eval_episodes": record["episodes"],
        "n_timesteps": agent.n_steps,
    }


def _metadata(agent: TrainedAgent) -> dict[str, Any]:
    """The metadata that the hub shows and searches."""
    record = agent.card["evaluation"]
    return {
        "library_name": "stable-baselines3",
        "tags": [agent.env_id, "deep-reinforcement-learning", "reinforcement-learning", "stable-baselines3", "rpp_rl"],
        "model-index": [
            {
                "name": agent.card["method"],
                "results": [
                    {
                        "task": {"type": "reinforcement-learning", "name": "reinforcement-learning"},
                        "dataset": {"name": agent.env_id, "type": agent.env_id},
                        "metrics": [
                            {
                                "type": "mean_reward",
                                "value": f"{record['mean_return']:.2f} +/- {record['std_return']:.2f}",
                                "name": "mean_reward",
                                "verified": False,
                            }
                        ],
                    }
                ],
            }
        ],
    }


def _check_name(repo: str) -> None:
    try:
        need("huggingface_hub.utils", "hub").validate_repo_id(repo)
    except ValueError as error:
        raise AgentError(f"expected a repository of the form org/name, got {repo!r}") from error
    if repo.count("/") != 1:
        raise AgentError(f"expected a repository of the form org/name, got {repo!r}")


@contextmanager
def _refusing(source: str, hint: str) -> Iterator[None]:
    """Turn errors of the hub and of the network into one line."""
    from huggingface_hub import errors

    # Its HTTP library changes with its version, but the errors of the way to the hub share this class with the hub's.
    http_error: type[Exception] = errors.HfHubHTTPError.__bases__[0]
    try:
        yield
    except (errors.RepositoryNotFoundError, errors.RevisionNotFoundError) as error:
        what = "revision" if isinstance(error, errors.RevisionNotFoundError) else "repository"
        raise AgentError(f"{source}: there is no such {what} on the hub, or it is private; {hint}") from error
    except errors.RemoteEntryNotFoundError as error:
        raise AgentError(f"{source}: the repository has no such file; {hint}") from error
    except errors.HfHubHTTPError as error:
        raise AgentError(f"{source}: the hub says: {str(error).splitlines()[0]}; {hint}") from error
    except (errors.LocalEntryNotFoundError, ConnectionError, http_error) as error:
        raise AgentError(
            f"{source}: the hub cannot be reached, nor is the file in the cache of earlier downloads"
        ) from error
