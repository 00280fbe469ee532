"""What a trial is, as plain values: strings, numbers and paths, which travel to another machine as JSON."""

import json
from dataclasses import dataclass

from edgestep.artifact import sha256_of_json, tool_versions
from edgestep.harness.plain import from_plain, plain_from
from edgestep.quantize.run import REVISION as QUANTIZE_REVISION

W8A8 = "w8a8"
"""The width of a layer whose activations are quantized too; it is named by its module, and is never with others."""
REVISION = 1
"""Part of every key: raise it when the same trial gives other figures."""


@dataclass(frozen=True)
class Setting:
    """What all trials of one run have in common: the float artifact's folder and key, and what is drawn.

    `cases` pictures of `prompts`, each prompt with two noises, are compared with the float artifact's own;
    `calibration` others are what the layers are calibrated on.
    """

    artifact: str
    key: str
    prompts: tuple[str, ...]
    cases: int
    calibration: int

    @property
    def sha256(self) -> str:
        """Name what is drawn and what quantizes, wherever the artifact lies."""
        tools = tool_versions("onnx", "onnxruntime", "openvino", "nncf", "numpy")
        drawn = [self.key, self.prompts, self.cases, self.calibration]
        return sha256_of_json([REVISION, QUANTIZE_REVISION, tools, *drawn])


@dataclass(frozen=True)
class Change:
    """One layer of one component at another width: `Change("unet", "unet.conv_in/Conv", "w4-32")`.

    `width` is a key of `edgestep.quantize.widths.WIDTHS`, or W8A8; of the latter `layer` is a module.
    """

    component: str
    layer: str
    width: str


@dataclass(frozen=True)
class Trial:
    """The artifact with these layers changed and all others float, as it would be written."""

    changes: tuple[Change, ...]

    def key(self, setting: Setting) -> str:
        """Name the trial: equal key, equal figures."""
        changes = sorted((c.component, c.layer, c.width) for c in self.changes)
        return sha256_of_json([setting.sha256, changes])


@dataclass(frozen=True)
class Figures:
    """How far the pictures are from the float artifact's, the worst case of each measure, and the bytes of the graphs.

    `x0_sqnr_db` (quality) and `image_ssim` (content) are apart as in MixDQ (arXiv 2405.17873); `x0_sqnr_db` is NaN
    where the artifact shows no x0. `x0_noise` and `image_noise` are means over the cases, which add up where layers are
    independent: of x0 error over signal, of the picture its squared error, peak 1.
    """

    x0_sqnr_db: float
    image_psnr_db: float
    image_ssim: float
    x0_noise: float
    image_noise: float
    bytes: int


def json_from(value: Setting | Trial | Figures) -> str:
    """Return the value as one line of JSON."""
    return json.dumps(plain_from(value), allow_nan=False)


def setting_from_json(text: str) -> Setting:
    """Return the setting that `json_from` wrote."""
    return from_plain(Setting, json.loads(text))


def trial_from_json(text: str) -> Trial:
    """Return the trial that `json_from` wrote."""
    return from_plain(Trial, json.loads(text))


def figures_from_json(text: str) -> Figures:
    """Return the figures that `json_from` wrote."""
    return from_plain(Figures, json.loads(text))
