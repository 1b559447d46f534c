"""Ray on a real cluster of two nodes, of which one dies; Slurm by submitit's local executor and a false sbatch."""

import os
import threading
import time

import pytest

from rpp_rl.experiments.job_folder import State
from rpp_rl.experiments.plan import read_plan
from rpp_rl.experiments.ray_cluster import RayCluster
from rpp_rl.experiments.scheduling import Driver, members_of
from rpp_rl.experiments.slurm import Requeueable, Slurm
from rpp_rl.io.border import UserError
from tests.kit.experiments import TINY, assert_complete, done, start_driver, wait_for, working, write_plan

# Ray and submitit leave files and sockets open when processes are killed.
pytestmark = [pytest.mark.slow, pytest.mark.filterwarnings("ignore")]


@pytest.fixture
def cluster():
    """Two nodes of one core on loopback."""
    cluster_utils = pytest.importorskip("ray.cluster_utils")
    size = {"num_cpus": 1, "include_dashboard": False, "object_store_memory": 80 * 2**20}
    cluster = cluster_utils.Cluster(initialize_head=True, head_node_args=size)
    cluster.second = cluster.add_node(num_cpus=1, object_store_memory=80 * 2**20)
    yield cluster
    cluster.shutdown()


def test_a_grid_on_two_nodes_is_complete_although_a_node_and_the_driver_are_killed(tmp_path, cluster):
    plan, folder = write_plan(tmp_path / "grid.yaml", environments=["Hopper-v5"]), tmp_path / "out" / "grid"
    driver = start_driver(plan, tmp_path / "out", "--ray", cluster.address)
    wait_for(lambda: len(list(folder.glob("*/*/*/started.json"))) >= 2 and working(folder), driver)
    cluster.remove_node(cluster.second, allow_graceful=False)
    wait_for(lambda: len(done(folder)) >= 2, driver)
    driver.kill()
    driver.communicate()
    before = done(folder)
    assert 2 <= len(before) < 6
    cluster.add_node(num_cpus=1, object_store_memory=80 * 2**20)
    again = start_driver(plan, tmp_path / "out", "--ray", cluster.address)
    output, _ = again.communicate(timeout=500)
    assert again.returncode == 0, output
    assert_complete(folder, 6)
    after = done(folder)
    assert all(after[job] == begun for job, begun in before.items())


def test_a_cluster_that_is_not_there_is_named(tmp_path):
    pytest.importorskip("ray")
    with pytest.raises(UserError, match=r"no Ray cluster at 127\.0\.0\.1:9"):
        RayCluster("127.0.0.1:9", tmp_path)


def one_job(tmp_path, **settings):
    """An experiment of one run, prepared."""
    changes = {"seeds": 1, "environments": ["Hopper-v5"], "variants": {"a": {}}, "settings": {**TINY, **settings}}
    plan = read_plan(write_plan(tmp_path / "x.yaml", **changes))
    (member,) = members_of(plan, tmp_path / "x")
    member.folder.prepare(member.job, plan.kind)
    return plan, member.folder


def test_a_run_is_made_by_a_job_of_submitit(tmp_path):
    pytest.importorskip("submitit")
    plan, folder = one_job(tmp_path)
    driver = Driver(plan, tmp_path / "x", Slurm(tmp_path / "x", {"cluster": "local"}, 1))
    driver.prepare()
    assert len(driver.run()[State.DONE]) == 1
    assert_complete(tmp_path / "x", 1)
    assert folder.log.exists()


def test_the_requeue_signal_saves_and_asks_for_another_allocation(tmp_path):
    pytest.importorskip("submitit")
    _, folder = one_job(tmp_path, n_timesteps=1_000_000)
    job = Requeueable(str(folder.path), 1)
    status = []
    thread = threading.Thread(target=lambda: status.append(job()))
    thread.start()
    deadline = time.monotonic() + 120
    while working(tmp_path / "x") is None and time.monotonic() < deadline:
        time.sleep(0.1)
    again = job.checkpoint()
    thread.join(30)
    assert status == [130]
    assert folder.state == State.WAITING
    assert isinstance(again.function, Requeueable)
    assert (again.function.folder, again.function.process) == (str(folder.path), None)


def test_what_is_asked_of_slurm_is_in_the_batch_file(tmp_path, monkeypatch):
    pytest.importorskip("submitit")
    (tmp_path / "bin").mkdir()
    for name, answer in (
        ("sbatch", "Submitted batch job 12"),
        ("sacct", "JobID|State|NodeList"),
        ("srun", ""),
        ("scancel", ""),
    ):
        (tmp_path / "bin" / name).write_text(f"#!/bin/sh\necho '{answer}'\n")
        (tmp_path / "bin" / name).chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}:{os.environ['PATH']}")
    _, folder = one_job(tmp_path)
    slurm = Slurm(tmp_path / "x", {"slurm_partition": "cpu", "timeout_min": 90}, n_workers=3)
    slurm.start(folder.path, num_threads=2)
    assert slurm.n_free == 2
    assert slurm.ended() == {}
    (batch,) = (tmp_path / "x" / ".slurm").rglob("*submission.sh")
    text = batch.read_text()
    for part in ("--partition=cpu", "--time=90", "--cpus-per-task=2", "--signal=USR2@60"):
        assert part in text
    slurm.stop()


def test_an_option_that_slurm_does_not_know_is_a_mistake_of_the_user(tmp_path):
    pytest.importorskip("submitit")
    with pytest.raises(UserError, match="--slurm"):
        Slurm(tmp_path, {"cluster": "local", "slurm_partitions": 1}, 1)
