"""Folders of runs, whole and damaged, ours and the zoo's."""

import struct
import zipfile

import numpy as np
import pytest
from tensorboard.summary.writer.record_writer import masked_crc32c

from rpp_rl.experiments.curves import (
    ACTOR_RESIDUAL,
    DISPLACEMENT,
    EQUIVARIANCE,
    RETURN,
    Curve,
    Run,
    read_csv,
    write_csv,
)
from rpp_rl.experiments.reading import Note, read_all, read_run
from tests.kit.runs import STEPS, make_job, make_run, make_zoo_run, write_scalars


def test_a_run_is_read(tmp_path):
    run = read_run(make_run(tmp_path / "sac" / "Hopper-v5_1", seed=3, mode="rpp", group="Z2"))
    assert (run.env_id, run.seed, run.finished, run.name) == ("Hopper-v5", 3, True, None)
    assert run.settings["group"] == "Z2"
    assert run.returns.steps.tolist() == [STEPS * k for k in range(1, 11)]
    assert run.returns.values.tolist() == list(range(1, 11))
    assert list(run.curves) == [RETURN]


def test_a_run_that_has_steps_left_is_not_finished(tmp_path):
    assert not read_run(make_run(tmp_path / "a", total=10 * STEPS, n_evaluations=9)).finished
    assert read_run(make_run(tmp_path / "b", total=9 * STEPS + 5, n_evaluations=9)).finished


def test_what_was_logged_is_read_and_averaged_over_the_generators(tmp_path):
    scalars = {
        f"{EQUIVARIANCE}/f": {1000: 0.2, 2000: 0.4},
        f"{EQUIVARIANCE}/g": {1000: 0.4, 2000: 0.6},
        ACTOR_RESIDUAL: {1000: 0.5},
        "train/actor_loss": {1000: 3.0},
    }
    run = read_run(make_run(tmp_path / "a", scalars=scalars))
    assert run.curves[EQUIVARIANCE].values == pytest.approx([0.3, 0.5])
    assert run.curves[ACTOR_RESIDUAL].values.tolist() == [0.5]
    assert set(run.curves) == {RETURN, EQUIVARIANCE, ACTOR_RESIDUAL}


def test_a_resumed_run_replaces_what_it_logged_after_its_checkpoint(tmp_path, monkeypatch):
    folder = make_run(tmp_path / "a", scalars={ACTOR_RESIDUAL: {1000: 0.1, 2000: 0.2, 3000: 0.3}})
    (first,) = folder.glob("events.*")
    first.rename(folder / "events.out.tfevents.1.host")
    write_scalars(folder, {ACTOR_RESIDUAL: {2000: 0.7}})
    curve = read_run(folder).curves[ACTOR_RESIDUAL]
    assert dict(zip(curve.steps.tolist(), curve.values.tolist(), strict=True)) == pytest.approx({1000: 0.1, 2000: 0.7})


def test_logs_elsewhere_are_found(tmp_path):
    folder = make_run(tmp_path / "logs" / "sac" / "Hopper-v5_1", tensorboard_log=str(tmp_path / "tb"))
    (tmp_path / "tb" / "sac" / "Hopper-v5_1").mkdir(parents=True)
    write_scalars(tmp_path / "tb" / "sac" / "Hopper-v5_1", {ACTOR_RESIDUAL: {1000: 0.5}})
    assert read_run(folder).curves[ACTOR_RESIDUAL].values.tolist() == [0.5]


def test_the_displacement_of_episodes_is_read_from_the_monitor(tmp_path):
    folder = make_run(tmp_path / "a")
    text = '#{"t_start": 0}\nr,l,t,x_displacement\n1.0,100,0.1,2.5\n2.0,50,0.2,3.5\n3.0,10'
    (folder / "0.monitor.csv").write_text(text)
    curve = read_run(folder).curves[DISPLACEMENT]
    assert (curve.steps.tolist(), curve.values.tolist()) == ([100, 150], [2.5, 3.5])


def test_a_run_of_the_zoo_is_read_and_nothing_in_it_is_executed(tmp_path):
    folder = make_zoo_run(tmp_path / "sac" / "Hopper-v5_1", seed=7)
    run = read_run(folder)
    assert (run.env_id, run.seed, run.n_timesteps, run.finished) == ("Hopper-v5", 7, 100_000, True)
    assert run.settings["policy_kwargs"] == "dict(net_arch=[400])"
    evil = f"!!python/object/apply:os.system ['touch {tmp_path}/harmed']"
    (folder / "Hopper-v5" / "config.yml").write_text(evil)
    assert isinstance(read_run(folder), Note)
    assert not (tmp_path / "harmed").exists()


def record(data, n_bytes):
    """A record of an event file whose checksums are right, of any length that it states."""
    length = struct.pack("<Q", n_bytes)
    return b"".join(part + struct.pack("<I", masked_crc32c(part)) for part in (length, data))


@pytest.mark.parametrize(("data", "n_bytes"), [(b"\xff" * 4, 4), (b"x", 2**62)])
def test_a_run_with_damaged_events_is_compared_by_its_returns(tmp_path, data, n_bytes):
    folder = make_run(tmp_path / "a", scalars={ACTOR_RESIDUAL: {1000: 0.1}})
    (path,) = folder.glob("events.*")
    path.write_bytes(path.read_bytes() + record(data, n_bytes))
    run = read_run(folder)
    assert list(run.curves) == [RETURN]
    assert "its TensorBoard files cannot be read: ValueError: events.out" in run.note


def damaged(folder):
    (folder / "evaluations.npz").write_bytes((folder / "evaluations.npz").read_bytes()[:100])


def with_nothing_evaluated(folder):
    (folder / "evaluations.npz").unlink()


def of_a_model(folder):
    with_nothing_evaluated(folder)
    path = folder / "Hopper-v5" / "config.yml"
    path.write_text(path.read_text() + "buffer: replay.npz\n")


def with_broken_settings(folder):
    (folder / "Hopper-v5" / "config.yml").write_text("a: [")


def without_seed(folder):
    (folder / "Hopper-v5" / "config.yml").write_text("env: Hopper-v5\n")


def with_infinite_returns(folder):
    np.savez(folder / "evaluations.npz", timesteps=[1], results=[[np.inf]], ep_lengths=[[1]])


def with_other_shapes(folder):
    np.savez(folder / "evaluations.npz", timesteps=[1, 2], results=[[1.0]], ep_lengths=[[1]])


def with_nested_settings(folder):
    (folder / "Hopper-v5" / "config.yml").write_text("a: " + "[" * 3000 + "]" * 3000)


def with_infinite_steps(folder):
    """The zoo's files have no environment in them."""
    (folder / "Hopper-v5" / "config.yml").write_text("n_timesteps: .inf\n")
    (folder / "Hopper-v5" / "args.yml").write_text("env: Hopper-v5\n")


def with_complex_returns(folder):
    np.savez(folder / "evaluations.npz", timesteps=[1], results=[[1j]], ep_lengths=[[1]])


def that_unpacks_to_gigabytes(folder):
    with zipfile.ZipFile(folder / "evaluations.npz", "w", zipfile.ZIP_DEFLATED) as archive:
        for name in ("timesteps", "results"):
            with archive.open(f"{name}.npy", "w", force_zip64=True) as file:
                np.lib.format.write_array_header_1_0(file, {"descr": "<f8", "fortran_order": False, "shape": (2**26,)})
                for _ in range(2**9):
                    file.write(bytes(2**20))


@pytest.mark.parametrize(
    ("spoil", "reason"),
    [
        (damaged, "damaged"),
        (with_nested_settings, "nested too deeply"),
        (with_infinite_steps, "no environment or no seed"),
        (with_complex_returns, "results holds complex128"),
        (that_unpacks_to_gigabytes, "too many for its size"),
        (with_nothing_evaluated, "no evaluation yet"),
        (of_a_model, "a model of the dynamics"),
        (with_broken_settings, "no YAML"),
        (without_seed, "no environment or no seed"),
        (with_infinite_returns, "no finite numbers"),
        (with_other_shapes, "got shapes"),
    ],
)
def test_what_cannot_be_read_is_skipped_with_a_note(tmp_path, spoil, reason):
    make_run(tmp_path / "sac" / "Hopper-v5_1")
    spoil(make_run(tmp_path / "sac" / "Hopper-v5_2", seed=1))
    runs, (note,) = read_all([tmp_path])
    assert [run.seed for run in runs] == [0]
    assert note.path.name == "Hopper-v5_2"
    assert reason in note.reason
    assert "\n" not in str(note)


def test_damaged_logs_cost_the_diagnostics_only(tmp_path):
    folder = make_run(tmp_path / "a")
    (folder / "events.out.tfevents.1").write_bytes(b"\x18" + bytes(200))
    run = read_run(folder)
    assert list(run.curves) == [RETURN]


def test_a_folder_that_is_given_twice_counts_once(tmp_path):
    folder = make_run(tmp_path / "sac" / "Hopper-v5_1")
    runs, notes = read_all([tmp_path, folder, tmp_path / "sac"])
    assert (len(runs), notes) == (1, [])


def test_runs_are_in_the_order_of_their_numbers(tmp_path):
    for k in (10, 9, 1):
        make_run(tmp_path / f"Hopper-v5_{k}", seed=k)
    assert [run.seed for run in read_all([tmp_path])[0]] == [1, 9, 10]


def test_a_folder_without_runs_is_noted_and_a_missing_one_refused(tmp_path):
    assert read_all([tmp_path])[1][0].reason == "no run: no */config.yml in it"
    with pytest.raises(FileNotFoundError):
        read_all([tmp_path / "nowhere"])


def test_the_arm_of_an_experiment_is_known_by_name(tmp_path):
    make_job(tmp_path / "rpp" / "seed_0", "rpp, strong prior")
    assert read_all([tmp_path])[0][0].name == "rpp, strong prior"


def test_csv_files_keep_every_number(tmp_path):
    curves = {RETURN: Curve.of({10: 1.5, 20: 0.1 + 0.2}), EQUIVARIANCE: Curve.of({5: 0.125})}
    write_csv([("a, b", Run("Ant-v4", 4, curves))], tmp_path / "x.csv")
    (run,) = read_csv(tmp_path / "x.csv")
    assert (run.name, run.env_id, run.seed) == ("a, b", "Ant-v4", 4)
    for metric, curve in curves.items():
        np.testing.assert_array_equal(run.curves[metric].steps, curve.steps)
        np.testing.assert_array_equal(run.curves[metric].values, curve.values)


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ("a,Ant-v4,0,eval/mean_reward,10,1.0", "twice"),
        ("a,Ant-v4,0,eval/mean_reward,20", "expected 6 fields"),
        ("a,Ant-v4,x,eval/mean_reward,20,1.0", "line 3"),
        ("a,Ant-v4,0,eval/mean_reward,20,nan", "line 3: expected a finite return, got nan"),
        ("b,Ant-v4,0,train/loss,20,1.0", "b, Ant-v4, seed 0 has no eval/mean_reward, only train/loss"),
    ],
)
def test_a_damaged_csv_file_is_refused(tmp_path, line, reason):
    path = tmp_path / "x.csv"
    path.write_text(f"exp_name,env_name,seed,metric,env_step,value\na,Ant-v4,0,eval/mean_reward,10,1.0\n{line}\n")
    with pytest.raises(ValueError, match=reason):
        read_csv(path)


def test_another_csv_file_is_refused(tmp_path):
    (tmp_path / "x.csv").write_text("step,return\n1,2\n")
    with pytest.raises(ValueError, match="expected the columns exp_name"):
        read_csv(tmp_path / "x.csv")
