"""What the workers of against_clients.py run: a prompt to a picture, tokenizing included, as each client does it.

Every runner has `picture()`, float32 [H, W, 3] in [0, 1], drawn from the given noise. It is saved on loading, so that
the parent can compare the pictures before anything is timed. `draw()` is what is timed.
"""

import re
import shutil
import tempfile
from abc import ABC, abstractmethod
from pathlib import Path
from typing import Any

import numpy as np

from edgestep.artifact import MANIFEST, read_artifact
from edgestep.quantize.openvino.saving import DYNAMIC_QUANTIZATION


class ClientRunner(ABC):
    """A client with `folder` loaded; `noise` is a .npy float32 [1, C, h, w]; `picture` is where its picture goes."""

    def __init__(self, folder: str, threads: int, prompt: str, noise: str, picture: str, **options: Any) -> None:
        self.folder, self.threads, self.prompt = Path(folder), threads, prompt
        self.noise, self.saved, self.options = np.load(noise), picture, options

    def imports(self) -> None:  # noqa: B027
        """Nothing apart: loading is not compared here."""

    def load(self) -> float | None:
        """Open the client and save its picture."""
        self.open()
        np.save(self.saved, np.asarray(self.picture(), dtype=np.float32))
        return None

    def close(self) -> None:  # noqa: B027
        """Nothing to close: the process ends."""

    @abstractmethod
    def open(self) -> None:
        """Load the client."""

    @abstractmethod
    def picture(self) -> np.ndarray:
        """Draw from the given noise; return float32 [H, W, 3] in [0, 1]."""

    @abstractmethod
    def draw(self) -> dict[str, float]:
        """Draw once more, as quickly as the client can."""


class EdgestepRunner(ClientRunner):
    """One of our artifacts, on its own runtime; with the option `without_vnni`, as where no integers are multiplied."""

    def open(self) -> None:
        """Open the sessions and the tokenizer."""
        from tokenizers import Tokenizer

        from edgestep.runtimes.drawing import Drawer

        with tempfile.TemporaryDirectory() as scratch:
            told = self.options.get("without_vnni", False)
            folder = _unrounded(self.folder, Path(scratch) / "artifact") if told else self.folder
            self.drawer = Drawer(folder, threads=self.threads, verify=not told)
        contract = read_artifact(self.folder).contract
        self.tokenizer = Tokenizer.from_file(str(self.folder / "tokenizer" / "tokenizer.json"))
        self.tokenizer.no_truncation()
        self.tokenizer.enable_padding(length=contract.prompt_tokens, pad_id=contract.pad_token_id)

    def picture(self) -> np.ndarray:
        """Tokenize, draw."""
        return self._drawn()[0] / np.float32(255)

    def draw(self) -> dict[str, float]:
        """Tokenize, draw: uint8."""
        self._drawn()
        return {}

    def _drawn(self) -> np.ndarray:
        ids = np.array([self.tokenizer.encode(self.prompt).ids], dtype=np.int64)
        return self.drawer.draw(ids, self.noise).image


def _unrounded(source: Path, folder: Path) -> Path:
    """Copy an artifact whose OpenVINO graphs round no activations as they come: without VNNI the plugin does not."""
    shutil.copytree(source, folder)
    kept = rf'(?<=<{DYNAMIC_QUANTIZATION[-1]} value=")\d+'
    for graph in folder.rglob("*.xml"):
        # As many digits as there were: the sizes of files are checked on opening.
        text = re.sub(kept, lambda found: "0" * len(found[0]), graph.read_text("utf-8"))
        graph.write_text(text, "utf-8")
    return folder


class PipelineRunner(ClientRunner):
    """A pipeline with diffusers' own call; its pictures stay float, which spares it the rounding."""

    pipeline: Any

    def picture(self) -> np.ndarray:
        """Tokenize, one step without guidance, decode."""
        return self._drawn()[0]

    def draw(self) -> dict[str, float]:
        """Do the same again."""
        self._drawn()
        return {}

    def _drawn(self) -> np.ndarray:
        import torch

        latents = torch.from_numpy(self.noise)
        options: dict[str, Any] = {"num_inference_steps": 1, "guidance_scale": 1.0, "output_type": "np"}
        with torch.inference_mode():
            return self.pipeline(self.prompt, latents=latents, **options).images


class DiffusersRunner(PipelineRunner):
    """PyTorch eager: diffusers' own pipeline on the checkpoint, float32."""

    def open(self) -> None:
        """Load the pipeline."""
        import torch
        from diffusers import DiffusionPipeline

        torch.set_num_threads(self.threads)
        self.pipeline = DiffusionPipeline.from_pretrained(self.folder, local_files_only=True).to(torch.float32)
        self.pipeline.set_progress_bar_config(disable=True)


class OptimumRunner(PipelineRunner):
    """optimum.onnxruntime.ORTDiffusionPipeline on what optimum-cli exported."""

    def open(self) -> None:
        """Load the pipeline with that many threads in each session."""
        import onnxruntime
        import torch
        from optimum.onnxruntime import ORTDiffusionPipeline

        torch.set_num_threads(self.threads)
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads, options.inter_op_num_threads = self.threads, 1
        for key, value in self.options.items():
            options.add_session_config_entry(key, value)
        self.pipeline = ORTDiffusionPipeline.from_pretrained(self.folder, session_options=options)
        self.pipeline.set_progress_bar_config(disable=True)


class GenaiRunner(ClientRunner):
    """openvino_genai.Text2ImagePipeline on a folder of OpenVINO graphs; `options` are OpenVINO's properties.

    `size` is (height, width). It is timed with its own noise: numbers handed over by Python one by one would hold it
    up.
    """

    def __init__(self, *given: Any, size: tuple[int, int], **named: Any) -> None:
        super().__init__(*given, **named)
        self.height, self.width = size

    def open(self) -> None:
        """Compile the pipeline; graphs of any size, as optimum-intel leaves them, are fixed to the one first."""
        import openvino_genai

        self.genai = openvino_genai
        options = {"INFERENCE_NUM_THREADS": self.threads, **self.options}
        self.pipeline = openvino_genai.Text2ImagePipeline(self.folder)
        if not (self.folder / MANIFEST).is_file():
            self.pipeline.reshape(1, self.height, self.width, 1.0)
        self.pipeline.compile("CPU", **options)

    def picture(self) -> np.ndarray:
        """Draw from the given noise."""
        return self._drawn(_given(self.genai, self.noise)) / np.float32(255)

    def draw(self) -> dict[str, float]:
        """Draw from its own noise: uint8."""
        self._drawn(self.genai.CppStdGenerator(0))
        return {}

    def _drawn(self, generator: Any) -> np.ndarray:
        options = {"num_inference_steps": 1, "guidance_scale": 1.0, "width": self.width, "height": self.height}
        return np.asarray(self.pipeline.generate(self.prompt, generator=generator, **options).data)[0]


def _given(genai: Any, noise: np.ndarray) -> Any:
    class Given(genai.Generator):
        """Hands out the noise itself, where the client would draw its own."""

        def __init__(self) -> None:
            genai.Generator.__init__(self)
            self.numbers = iter(noise.ravel())

        def next(self) -> float:
            return float(next(self.numbers))

    return Given()
