"""Running what is missing of a study, with a bar of progress."""

from pathlib import Path

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
    device: torch.device,
    data: Path | None = None,
    workers: int = 1,
    num_threads: int = 1,
    progress: bool = False,
) -> bool:
    """Run the jobs that are missing.

    Args:
        study: Which one.
        settings: What decides its numbers.
        results: Takes the rows of each job when it is finished.
        device: Where networks are trained.
        data: The user's folder of data sets, for studies that need one.
        workers: Processes that share the jobs.
        num_threads: Threads of torch in each.
        progress: Whether a bar of epochs is shown.

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
            run_study(study, settings, results, device=device, data=data, workers=workers, tick=bar.update)
        except KeyboardInterrupt:
            return False
    return True
