import json
import math

import pytest

from rpp_rl.cli.check_spec import main
from rpp_rl.envs.check import GeneratorCheck
from rpp_rl.envs.check_report import record

pytestmark = pytest.mark.mujoco


def test_table_says_what_each_generator_does_and_how_exact_it_is(capsys):
    assert main(["--env", "Swimmer-v5", "--group", "Z2xZ2", "--states", "10"]) == 0
    text = capsys.readouterr().out
    assert "Swimmer-v5 under Z2xZ2, 10 random states and 40 wild ones, 0 with contacts" in text
    assert "l, b: nothing touched anything" in text
    left_right, front_back = text.splitlines()[4:6]
    assert left_right.startswith("l ")
    assert left_right.endswith("exact")
    assert front_back.endswith("approximate")
    assert "%" in front_back
    assert "l: left and right are exchanged" in text
    assert max(map(len, text.splitlines())) < 200


def test_table_names_what_points_the_wrong_way(capsys):
    assert main(["--env", "Swimmer-v4", "--group", "paper-Z2", "--states", "40"]) == 0
    assert "l: wrong, the prediction for velocity of the first link" in capsys.readouterr().out


def test_json_is_a_list_with_one_record_for_each_generator(capsys):
    assert main(["--env", "Walker2d-v5", "--states", "5", "--seed", "3", "--json"]) == 0
    (record,) = json.loads(capsys.readouterr().out)
    assert record["generator"] == "f"
    assert record["verdict"] == "exact"
    assert record["keeps_reward"] is True
    assert record["error_1_step"] < 1e-9
    assert record["error_20_steps"] < 1e-9
    assert record["reward_max"] < 1e-9
    assert record["termination_mismatches"] == 0
    assert record["n_states"] == 5


def test_infinite_errors_become_null():
    infinite = GeneratorCheck("r", 1, 0.1, 0.2, {"a": math.inf}, {"a": 0.5}, 0.0, 0.0, 0, 1.0, "a")
    values = json.loads(json.dumps(record(infinite), allow_nan=False))
    assert values["blocks_1"] == {"a": None}
    assert values["blocks_20"] == {"a": 0.5}


@pytest.mark.parametrize(
    ("argv", "message"),
    [
        (["--env", "Walker-v5"], "no specification for environment 'Walker-v5'"),
        (["--env", "Ant-v5", "--group", "Z3"], "Ant-v5 has no group 'Z3'; it offers D4"),
    ],
)
def test_mistakes_end_in_one_line(refused, argv, message):
    assert message in refused(main, *argv)


def test_a_check_needs_a_state(capsys):
    with pytest.raises(SystemExit):
        main(["--env", "Ant-v5", "--states", "0"])
    assert "--states: expected at least 1, got 0" in capsys.readouterr().err
