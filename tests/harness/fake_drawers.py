"""What the drawing worker may run in place of an artifact: one that draws the reference, and every way to fail."""

import ctypes
import os
import signal
import time
from collections.abc import Mapping
from pathlib import Path

import numpy as np


class Faithful:
    """Draws what the bundle in `EDGESTEP_TEST_BUNDLE` says, and prints to stdout, which must not reach the parent."""

    def __init__(self, folder: str, runtime: str, threads: int | None) -> None:
        self.made_with = (folder, runtime, threads)
        self.drawn = 0

    def load(self) -> None:
        from edgestep.harness.reference.bundle import read_reference

        print("loading")
        os.write(1, b"{broken json\n")
        self.cases = read_reference(Path(os.environ["EDGESTEP_TEST_BUNDLE"])).cases

    def draw(self, inputs: Mapping[str, np.ndarray]) -> Mapping[str, np.ndarray]:
        self.drawn += 1
        case = next(c for c in self.cases if all(np.array_equal(c.inputs[n], inputs[n]) for n in c.inputs))
        assert np.array_equal(inputs["reference_x0"], case.x0)
        return {"prompt_embeds": case.prompt_embeds, "x0": case.x0, "image": case.picture, "decoded": case.picture}


class FailsInLoad(Faithful):
    def load(self) -> None:
        raise RuntimeError("no such device\nsecond line")


class FailsLater(Faithful):
    def draw(self, inputs: Mapping[str, np.ndarray]) -> Mapping[str, np.ndarray]:
        if self.drawn == 2:
            self.fail()
        return super().draw(inputs)

    def fail(self) -> None:
        raise ValueError("bad kernel")


class Segfaults(FailsLater):
    def fail(self) -> None:
        ctypes.string_at(0)


class Killed(FailsLater):
    def fail(self) -> None:
        os.kill(os.getpid(), signal.SIGKILL)


class OutOfMemory(FailsLater):
    def fail(self) -> None:
        import resource

        resource.setrlimit(resource.RLIMIT_AS, (1 << 30, 1 << 30))
        np.ones(1 << 32)


class Exits(FailsLater):
    def fail(self) -> None:
        os.write(2, b"the driver gave up\n")
        os._exit(7)


class Hangs(FailsLater):
    def fail(self) -> None:
        time.sleep(600)


class WrongShapes(Faithful):
    def draw(self, inputs: Mapping[str, np.ndarray]) -> Mapping[str, np.ndarray]:
        drawn = dict(super().draw(inputs))
        return {**drawn, "image": drawn["image"][:, :-1], "x0": drawn["x0"].astype(np.float64)}


class DrawsNothing(Faithful):
    def draw(self, inputs: Mapping[str, np.ndarray]) -> Mapping[str, np.ndarray]:
        super().draw(inputs)
        return {}
