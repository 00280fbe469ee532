"""Where trials run: in this process, one after the other, or spread over a Ray cluster."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

from edgestep.search.bench import Bench
from edgestep.search.kept import Run
from edgestep.search.trials import Figures, Setting, Trial


@contextmanager
def runner(setting: Setting, ray: str | None, tell: Callable[[str], None] = lambda _: None) -> Iterator[Run]:
    """Yield what runs trials: in process where `ray` is None, else on the cluster at that address (see over_ray.py)."""
    if ray is not None:
        from edgestep.search.over_ray import ray_runner

        with ray_runner(setting, ray, tell) as run:
            yield run
        return
    with Bench(setting) as bench:

        def run_here(trials: Sequence[Trial]) -> Iterator[tuple[Trial, Figures]]:
            for trial in trials:
                yield trial, bench.run(trial)

        yield run_here
