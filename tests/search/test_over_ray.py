"""Trials over two Ray nodes give, bit for bit, what they give in process, though a worker is killed on the way."""

import os
import signal
import threading
import time
from pathlib import Path

import pytest

from edgestep.artifact import BadInput
from edgestep.search.kept import Kept, run_kept
from edgestep.search.runners import runner
from edgestep.search.trials import Change, Trial
from tests.search.conftest import setting_of

pytestmark = pytest.mark.slow
ray = pytest.importorskip("ray", reason="no Ray here: pip install 'edgestep[ray]'")

TASK = b"ray::run_json"


@pytest.fixture
def cluster(monkeypatch):
    """Two nodes on this machine, of one CPU each."""
    from ray.cluster_utils import Cluster

    monkeypatch.setenv("RAY_USAGE_STATS_ENABLED", "0")
    node = {"num_cpus": 1, "include_dashboard": False, "object_store_memory": 80 * 2**20}
    made = Cluster(initialize_head=True, head_node_args=node)
    made.add_node(**{key: value for key, value in node.items() if key != "include_dashboard"})
    yield made
    made.shutdown()


def trials_of(count: int) -> list[Trial]:
    layers = ("unet.mid_block.resnets.0.conv1", "unet.mid_block.resnets.0.conv2", "unet.conv_in", "unet.conv_out")
    widths = ("w8", "w4-32", "w3-64")
    made = [Trial((Change("unet", f"{layer}/Conv", width),)) for layer in layers for width in widths]
    return made[:count]


def kill_a_worker(parents: set[int], killed: list[int]) -> None:
    """Kill the first process of ours that is at a trial."""
    end = time.monotonic() + 60
    while not killed and time.monotonic() < end:
        for folder in Path("/proc").glob("[0-9]*"):
            try:
                told = (folder / "cmdline").read_bytes()
                parent = int((folder / "stat").read_text().rpartition(")")[2].split()[1])
            except OSError:
                continue
            if told.startswith(TASK) and parent in parents:
                os.kill(int(folder.name), signal.SIGKILL)
                killed.append(int(folder.name))
                return
        time.sleep(0.02)


@pytest.mark.skipif(not Path("/proc").is_dir(), reason="finds the worker in /proc")
def test_two_nodes_and_a_killed_worker_give_the_figures_of_one_process(float_artifact, cluster, tmp_path):
    setting, trials = setting_of(float_artifact("onnx", "split")), trials_of(12)
    with runner(setting, None) as run:
        expected = dict(run(trials))
    raylets = {info.process.pid for node in (cluster.head_node, *cluster.worker_nodes)
               for info in node.all_processes["raylet"]}  # fmt: skip
    told: list[str] = []
    killed: list[int] = []
    with runner(setting, cluster.address, told.append) as run:
        threading.Thread(target=kill_a_worker, args=(raylets, killed), daemon=True).start()
        found = run_kept(trials, Kept(tmp_path / "trials.jsonl", setting), run)
    assert killed
    assert "2 nodes" in told[0]
    assert found == [expected[trial] for trial in trials]


def test_what_a_trial_refuses_is_told_in_its_own_words(float_artifact, cluster):
    setting = setting_of(float_artifact("onnx", "split"))
    bad = Trial((Change("nothing", "unet.conv_in/Conv", "w8"),))
    with runner(setting, cluster.address) as run, pytest.raises(BadInput, match="no component 'nothing'"):
        list(run([bad]))
