"""Runners for the latency worker that need no model: one that works, and every way to fail."""

import os
import signal
import time


class Sleeper:
    """Sleeps `seconds`; `noise` is printed to stdout, which must not reach the parent."""

    def __init__(self, seconds: float = 0.001, noise: str = "") -> None:
        self.seconds, self.noise = seconds, noise

    def imports(self) -> None:
        pass

    def load(self) -> float | None:
        self.kept = bytearray(32 << 20)
        return 0.25

    def draw(self) -> dict[str, float]:
        if self.noise:
            os.write(1, self.noise.encode())
            print(self.noise)
        time.sleep(self.seconds)
        return {"unet": self.seconds}

    def close(self) -> None:
        pass


class Raises(Sleeper):
    def load(self) -> float | None:
        raise RuntimeError("no such device")


class Killed(Sleeper):
    def draw(self) -> dict[str, float]:
        os.kill(os.getpid(), signal.SIGKILL)
        return {}


class Exits(Sleeper):
    def draw(self) -> dict[str, float]:
        os.write(2, b"the driver gave up\n")
        os._exit(7)


class Hangs(Sleeper):
    def draw(self) -> dict[str, float]:
        time.sleep(600)
        return {}


class KilledLater(Sleeper):
    """Starts well, dies in the warm runs."""

    draws = 0

    def draw(self) -> dict[str, float]:
        self.draws += 1
        if self.draws > 5:
            os.kill(os.getpid(), signal.SIGKILL)
        return {"unet": 0.0}
