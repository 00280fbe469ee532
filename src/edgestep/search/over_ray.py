"""Trials over a Ray cluster: each is a task of one CPU, and is run again on another worker where its own dies.

What travels are the JSON texts of a setting, a trial and its figures: the artifact lies in a folder that every node
sees under the same path, and every node has the same edgestep installed.
"""

import logging
import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from edgestep.artifact import BadInput
from edgestep.search.bench import Bench
from edgestep.search.kept import Run
from edgestep.search.trials import (
    Figures,
    Setting,
    Trial,
    figures_from_json,
    json_from,
    setting_from_json,
    trial_from_json,
)

RETRIES = 3
"""How many times a trial is run again whose worker was killed, or whose node went."""
LOCAL = "local"
LOOPBACK = "127.0.0.1"

_benches: dict[str, Bench] = {}
"""In a worker: the bench of the setting that it was asked for last, which takes longer to open than a trial."""


@contextmanager
def ray_runner(setting: Setting, address: str, tell: Callable[[str], None] = lambda _: None) -> Iterator[Run]:
    """Yield what runs trials over Ray. `address`: auto, host:port, or local for a cluster of this machine alone.

    Raises BadInput where Ray is not installed or nothing answers at the address.
    """
    ray = _connected(address)
    try:
        tell(f"Ray: {len(ray.nodes())} nodes, {int(ray.cluster_resources().get('CPU', 0))} CPUs")
        task = ray.remote(num_cpus=1, max_retries=RETRIES)(run_json)
        given = json_from(setting)

        def run(trials: Sequence[Trial]) -> Iterator[tuple[Trial, Figures]]:
            waiting = {task.remote(given, json_from(trial)): trial for trial in trials}
            while waiting:
                (done, *_), _ = ray.wait(list(waiting))
                yield waiting.pop(done), figures_from_json(_result(ray, done))

        yield run
    finally:
        ray.shutdown()


def run_json(setting: str, trial: str) -> str:
    """Run one trial in a worker: JSON of a Setting and a Trial -> JSON of Figures, or of what was wrong with them."""
    try:
        if setting not in _benches:
            while _benches:
                _benches.popitem()[1].__exit__()
            _benches[setting] = Bench(setting_from_json(setting))
        return json_from(_benches[setting].run(trial_from_json(trial)))
    except BadInput as error:
        return f"{REFUSED}{error}"


REFUSED = "refused: "
"""Before the words of a BadInput: as an exception it would arrive as one of Ray's own."""


def _result(ray: Any, done: Any) -> str:
    try:
        text = ray.get(done)
    except ray.exceptions.RayError as error:
        line = (str(error).strip().splitlines() or [type(error).__name__])[0]
        raise BadInput(
            f"got no result of a trial over Ray ({line}); expected its worker to live; look at that node's memory, or "
            "run the same command again: finished trials are kept"
        ) from error
    if text.startswith(REFUSED):
        raise BadInput(text.removeprefix(REFUSED))
    return text


def _connected(address: str) -> Any:
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    try:
        import ray
    except ImportError as error:
        raise BadInput("got no ray; --ray spreads trials with it; pip install 'edgestep[ray]'") from error
    own = {"include_dashboard": False, "_node_ip_address": LOOPBACK} if address == LOCAL else {}
    try:
        ray.init(address=address, log_to_driver=False, logging_level=logging.ERROR, **own)
    except (ConnectionError, ValueError, RuntimeError, OSError) as error:
        line = (str(error).strip().splitlines() or [type(error).__name__])[0]
        raise BadInput(
            f"got --ray {address}, where no Ray cluster answers ({line}); expected auto, host:port or {LOCAL}; start "
            "one with 'ray start --head'"
        ) from error
    return ray
