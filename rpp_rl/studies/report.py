"""A study's results as a figure, as text for people and as JSON for programs."""

import dataclasses
import json
from pathlib import Path

from rpp_rl.io.atomic import replacing
from rpp_rl.io.tables import ruled
from rpp_rl.studies.registry import TITLES
from rpp_rl.studies.study import Results, Study, StudySettings

FIGURE_FILE = "figure.png"
VERDICTS = {True: "holds", False: "fails", None: "unknown"}


def draw(study: Study, results: Results, folder: Path) -> None:
    """Write the figure into the folder of the results."""
    figure = study.figure(results.rows)
    with replacing(folder / FIGURE_FILE) as file:
        figure.savefig(file, format="png", dpi=150)


def as_text(study: Study, results: Results, folder: Path) -> str:
    """The table beside the paper's numbers, and what became of the paper's claims."""
    claims = [f"{VERDICTS[claim.holds]:8}{claim.text}: {claim.found}" for claim in study.claims(results.rows)]
    end = f"rows: {results.path}, figure: {folder / FIGURE_FILE}"
    return "\n".join([TITLES[study.name], "", *ruled(study.table(results.rows)), "", *claims, "", end])


def as_json(study: Study, settings: StudySettings, results: Results) -> str:
    """Settings, rows and claims."""
    content = {
        "study": study.name,
        "settings": dataclasses.asdict(settings),
        "rows": [row._asdict() for row in results.rows],
        "claims": [claim._asdict() for claim in study.claims(results.rows)],
    }
    return json.dumps(content, indent=1)
