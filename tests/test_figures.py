"""Every figure of measurements in the documentation is made from a CSV file, by the script that says how."""

from pathlib import Path

from scripts.make_figures import FIGURES, MEASUREMENTS, make

IMAGES = {".png", ".svg", ".jpg"}


def test_every_figure_of_measurements_is_made_by_the_script():
    assert {path.name for path in MEASUREMENTS.iterdir() if path.suffix in IMAGES} == set(FIGURES)


def test_the_figures_can_be_made(tmp_path: Path):
    make(list(FIGURES), tmp_path)
    assert {path.name for path in tmp_path.iterdir()} == set(FIGURES)
