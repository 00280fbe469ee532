"""An artifact -> its README.md: what it is, its contract, its sizes, and how to run it."""

from edgestep.artifact import Artifact, File, OneStep, TensorSpec

FUSED = {
    "onnx": """\
import numpy as np, onnxruntime
from PIL import Image
session = onnxruntime.InferenceSession("generator.onnx", providers=["CPUExecutionProvider"])
image = session.run(None, {"input_ids": ids, "noise": noise})[0]
""",
    "openvino": """\
import numpy as np, openvino
from PIL import Image
generator = openvino.compile_model("generator.xml", "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
image = generator({"input_ids": ids, "noise": noise})["image"]
""",
}
SPLIT = {
    "onnx": """\
import numpy as np, onnxruntime
from PIL import Image
def run(name, **feeds):
    return onnxruntime.InferenceSession(f"{name}/model.onnx", providers=["CPUExecutionProvider"]).run(None, feeds)[0]
""",
    "openvino": """\
import numpy as np, openvino
from PIL import Image
def run(name, **feeds):
    hint = {"INFERENCE_PRECISION_HINT": "f32"}
    return openvino.compile_model(f"{name}/openvino_model.xml", "CPU", hint)(feeds)[0]
""",
}
THREE_CALLS = """\
states = run("text_encoder", input_ids=ids)
x0 = run("unet", sample=noise, timestep=np.array(999), encoder_hidden_states=states)
sample = run("vae_decoder", latent_sample=x0 / np.float32(%r))
image = np.round(np.clip(sample / 2 + 0.5, 0, 1) * 255).astype(np.uint8).transpose(0, 2, 3, 1)
"""
FEEDS = """\
ids = np.array([[%d, %d] + [%d] * %d])  # the empty prompt; tokenizer/tokenizer.json makes others
noise = np.random.default_rng(0).standard_normal((1, %d, %d, %d), dtype=np.float32)
"""
COREML = """\
Core ML runs on Apple devices: add the three packages to an app, or load them with `coremltools` on a Mac. Feed int32
`input_ids` to text_encoder, its output and float32 noise to unet, whose `out_sample` is x0, and x0 / %r to
vae_decoder; its `sample` lies in [-1, 1].
"""


def card_from_artifact(artifact: Artifact, files: tuple[File, ...]) -> str:
    """Return the text; its example draws the empty prompt."""
    contract = artifact.contract
    front = f"---\nlicense: {artifact.licence}\n---\n"
    sizes = "\n".join(f"- `{file.path}`: {file.bytes:,} bytes" for file in files if file.bytes >= 10_000)
    signatures = "\n".join(f"- {c.name}: {_specs(c.inputs)} -> {_specs(c.outputs)}" for c in artifact.components)
    return f"""{front}
# {artifact.name}

A one-step image generator ({contract.family}) as {artifact.format}, {artifact.scheme}, {artifact.layout} form, made by
edgestep. `edgestep.json` lists every file with its hash.

x_in = {contract.k_in:.9g} z, x0 = {contract.k_z:.9g} z - {contract.k_e:.9g} F(x_in, t = {contract.timestep:g}, prompt),
image = decode(x0 / {contract.latent_scale:.9g}). z is standard normal noise; the formula is inside the graph.
The network predicts {contract.prediction_type}. No guidance.

{signatures}

{sizes}

```python
{_example(artifact)}```
"""


def _example(artifact: Artifact) -> str:
    contract = artifact.contract
    if artifact.format == "coreml":
        return "".join(f"# {line}\n" for line in (COREML % contract.latent_scale).splitlines())
    feeds = FEEDS % (*_empty_prompt(contract), *contract.latent_shape)
    save = 'Image.fromarray(image[0]).save("image.png")\n'
    if artifact.layout == "fused":
        imports, rest = _parted(FUSED[artifact.format])
        return imports + feeds + rest + save
    imports, rest = _parted(SPLIT[artifact.format])
    return imports + feeds + rest + THREE_CALLS % contract.latent_scale + save


def _empty_prompt(contract: OneStep) -> tuple[int, int, int, int]:
    """Return begin, end, padding, and how often padding follows."""
    return contract.bos_token_id, contract.eos_token_id, contract.pad_token_id, contract.prompt_tokens - 2


def _parted(text: str) -> tuple[str, str]:
    """Return the two lines of imports, and what comes after."""
    lines = text.splitlines(keepends=True)
    return "".join(lines[:2]), "".join(lines[2:])


def _specs(specs: tuple[TensorSpec, ...]) -> str:
    return ", ".join(f"{s.name} {s.dtype}{list(s.shape)}" for s in specs)
