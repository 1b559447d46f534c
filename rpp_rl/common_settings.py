"""The settings that every training has, whatever it learns."""

from dataclasses import dataclass

from rpp_rl.settings import REQUIRED, Settings, setting


@dataclass(frozen=True)
class CommonSettings(Settings):
    """The robot, the CPU and the folders of a training.

    Raises:
        ValueError: If a value has the wrong type or lies outside its range.
    """

    env: str = setting(REQUIRED, "Gymnasium's id of the environment", flag="--env", metavar="ID")
    spec: str | None = setting(
        None, "file of a specification, written by derive-spec, for a robot of your own", flag="--spec", metavar="FILE"
    )
    num_threads: int = setting(
        1, "threads of torch on the CPU; small networks gain nothing from more", at_least=1, flag="--num-threads"
    )
    strict_float32: bool = setting(
        False, "never choose a faster library for products of matrices by measuring", flag="--strict-float32"
    )
    log_folder: str = setting(
        "logs",
        "folder of all runs; a run gets {algo}/{env}_{number} in it",
        flag=("-f", "--log-folder"),
        metavar="FOLDER",
    )
    tensorboard_log: str | None = setting(
        None,
        "folder for TensorBoard, 'off' for none; by default the folder of the run",
        flag=("-tb", "--tensorboard-log"),
        metavar="FOLDER",
    )
