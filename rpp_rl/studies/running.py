"""Running what is missing of a study, with a bar of progress."""

from typing import Any

import torch
from tqdm import tqdm

from rpp_rl.studies.study import Results, Study, StudySettings, run_study


def device_of(name: str) -> torch.device:
    """The device of this name; ``auto`` is a GPU if there is one.

    Raises:
        RuntimeError: If torch does not know it.
    """
    return torch.device(("cuda" if torch.cuda.is_available() else "cpu") if name == "auto" else name)


def finish(
    study: Study,
    settings: StudySettings,
    results: Results,
    *,
    num_threads: int = 1,
    progress: bool = False,
    **options: Any,  # noqa: ANN401
) -> bool:
    """Run the jobs that are missing.

    Args:
        study: As for `run_study`.
        settings: As for `run_study`.
        results: As for `run_study`.
        num_threads: Threads of torch in each process.
        progress: Whether a bar of epochs is shown.
        options: More of `run_study`.

    Returns:
        Whether nobody interrupted; the jobs that were finished before are kept.

    Raises:
        FloatingPointError: If a training diverges.
    """
    torch.set_num_threads(num_threads)
    jobs, done = study.jobs(settings), results.done()
    total = sum(study.n_epochs(job, settings) for job in jobs)
    initial = sum(study.n_epochs(job, settings) for job in jobs if job in done)
    bar = tqdm(total=total, initial=initial, unit="epoch", desc=study.name, dynamic_ncols=True, disable=not progress)
    with bar:
        try:
            run_study(study, settings, results, tick=bar.update, **options)
        except KeyboardInterrupt:
            return False
    return True
