"""An Artifact -> at most 15 lines of Python that draw the empty prompt with the runtime alone: its card's example.

`ids`, `ids_2` and `mask` are what the contract pads the empty prompt to, `told` is what the denoiser is told of it.
"""

from edgestep.artifact import Artifact, Component, OneStep, TensorSpec, Tokens

RUN = {
    "onnx": """\
def run(name, **feeds):
    session = onnxruntime.InferenceSession(f"{name}/model.onnx", providers=["CPUExecutionProvider"])
    return dict(zip([output.name for output in session.get_outputs()], session.run(None, feeds)))
""",
    "openvino": """\
def run(name, **feeds):
    model = openvino.compile_model(f"{name}/openvino_model.xml", "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
    return {output.any_name: value for output, value in model(feeds).items()}
""",
}
"""Format -> a function that runs one graph of the split form by its name."""
DRAW = {
    "onnx": """\
session = onnxruntime.InferenceSession("generator.onnx", providers=["CPUExecutionProvider"])
image = session.run(None, {FEEDS})[0][0]
""",
    "openvino": """\
model = openvino.compile_model("generator.xml", "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
image = model({FEEDS})["image"][0]
""",
}
"""Format -> one call of the fused form."""
LEVELS = "np.round(np.clip(image / 2 + 0.5, 0, 1) * 255).astype(np.uint8)"
"""A decoded sample as a picture."""
MODULES = {"onnx": "onnxruntime", "openvino": "openvino"}
VALUES = {
    "input_ids": "ids",
    "input_ids_2": "ids_2",
    "attention_mask": "mask",
    "noise": "noise",
    "more_noise": "np.stack(more_noise)",
}
"""Input of the fused form -> the example's name for it."""


def example_from_artifact(artifact: Artifact) -> str:
    """Return the code; it writes image.png, and is to be run in the artifact's folder. Not for Core ML."""
    loop = "json, " if artifact.layout == "split" and artifact.contract.next_steps else ""
    head = f"import {loop}numpy as np, {MODULES[artifact.format]}, PIL.Image\n"
    feeds = _prompt(artifact.contract) + _noise(artifact.contract)
    if artifact.layout == "fused":
        return head + feeds + _fused(artifact)
    return head + RUN[artifact.format] + feeds + _split(artifact)


def _prompt(contract: OneStep) -> str:
    """The empty prompt: what opens a prompt and what ends it, then padding."""
    names, values = ["ids"], [_ids(contract)]
    for tokens in contract.more_tokenizers:
        names.append("ids_2")
        values.append(_ids(tokens))
    lines = f"{', '.join(names)} = {', '.join(values)}  # the empty prompt\n"
    if contract.base in ("pixart", "sana"):
        words = len(_opening(contract))
        lines += f"mask = np.array([{[1] * words} + [0] * {contract.prompt_tokens - words}])\n"
    return lines


def _ids(tokens: OneStep | Tokens) -> str:
    opening = _opening(tokens)
    return f"np.array([{opening} + [{tokens.pad_token_id}] * {tokens.prompt_tokens - len(opening)}])"


def _opening(tokens: OneStep | Tokens) -> list[int]:
    return [token for token in (tokens.bos_token_id, tokens.eos_token_id) if token >= 0]


def _noise(contract: OneStep) -> str:
    """Standard normal numbers, as many times as the loop adds some."""
    shape = (1, *contract.latent_shape)
    names = "noise"
    if _adds_noise(contract):
        shape, names = (1 + len(contract.next_steps), *shape), "noise, *more_noise"
    return f"{names} = np.random.default_rng(0).standard_normal({shape}, dtype=np.float32)\n"


def _adds_noise(contract: OneStep) -> bool:
    return any(step.m_n for step in contract.next_steps)


def _fused(artifact: Artifact) -> str:
    generator = artifact.component("generator")
    values = {**VALUES, "time_ids": _time_ids(artifact.contract)}
    feeds = ", ".join(f'"{spec.name}": {values[spec.name]}' for spec in generator.inputs)
    levels = "image" if generator.outputs[0].dtype == "uint8" else "np.round(image * 255).astype(np.uint8)"
    return DRAW[artifact.format].replace("FEEDS", feeds) + f'PIL.Image.fromarray({levels}).save("image.png")\n'


def _split(artifact: Artifact) -> str:
    contract = artifact.contract
    x0 = "x0" if contract.latent_scale == 1 else f"x0 / np.float32({contract.latent_scale!r})"
    if contract.latent_shift:
        x0 += f" + np.float32({contract.latent_shift!r})"
    return (
        TOLD[contract.base](artifact)
        + _steps(artifact)
        + f'image = run("vae_decoder", latent_sample={x0})["sample"][0].transpose(1, 2, 0)\n'
        + f"PIL.Image.fromarray({LEVELS})"
        + '.save("image.png")\n'
    )


def _steps(artifact: Artifact) -> str:
    contract = artifact.contract
    first = next(c for c in artifact.components if c.name in ("unet", "transformer"))
    x0 = _denoised(first, f'"{first.name}"', "noise", f"{contract.timestep:.0f}")
    if not contract.next_steps:
        return f"x0 = {x0}\n"
    steps, names, noise = 'json.load(open("edgestep.json"))["contract"]["next_steps"]', "k", ""
    if _adds_noise(contract):
        steps, names, noise = f"zip({steps}, more_noise)", "(k, n)", ' + k["m_n"] * n'
    later = _denoised(first, f'f"{first.name}_{{i}}"', "z", 'round(k["timestep"])')
    return (
        f"z, x0 = noise, {x0}\n"
        f"for i, {names} in enumerate({steps}, 2):\n"
        f'    z = k["m_z"] * z + k["m_x"] * x0{noise}\n'
        f"    x0 = {later}\n"
    )


def _denoised(component: Component, name: str, z: str, timestep: str) -> str:
    inputs = {spec.name: spec for spec in component.inputs}
    sample = next(found for found in ("sample", "hidden_states") if found in inputs)
    t = f"[{timestep}]" if inputs["timestep"].shape else timestep
    return f'run({name}, {sample}={z}, timestep=np.array({t}), **told)["out_sample"]'


def _told_sd(artifact: Artifact) -> str:
    return 'told = {"encoder_hidden_states": run("text_encoder", input_ids=ids)["last_hidden_state"]}\n'


def _told_sdxl(artifact: Artifact) -> str:
    one, two = (_before_last(artifact.component(name).outputs) for name in ("text_encoder", "text_encoder_2"))
    return (
        'one, two = run("text_encoder", input_ids=ids), run("text_encoder_2", input_ids=ids_2)\n'
        f'told = {{"encoder_hidden_states": np.concatenate([one["{one}"], two["{two}"]], axis=-1)}}\n'
        f'told |= {{"text_embeds": two["text_embeds"], "time_ids": {_time_ids(artifact.contract)}}}\n'
    )


def _time_ids(contract: OneStep) -> str:
    """SDXL's size conditioning: the picture's own size, no crop."""
    height, width = contract.image_size
    return f"np.float32([[{height}, {width}, 0, 0, {height}, {width}]])"


def _told_masked(artifact: Artifact) -> str:
    return (
        'told = run("text_encoder", input_ids=ids, attention_mask=mask)\n'
        'told["encoder_hidden_states"] = told.pop("last_hidden_state")\n'
    )


TOLD = {"sd": _told_sd, "sdxl": _told_sdxl, "pixart": _told_masked, "sana": _told_masked}
"""Base -> the lines that run the text encoders."""


def _before_last(outputs: tuple[TensorSpec, ...]) -> str:
    """Return the name of the last of hidden_states.0, hidden_states.1 ..."""
    names = [spec.name for spec in outputs if spec.name.startswith("hidden_states.")]
    return max(names, key=lambda name: int(name.rpartition(".")[2]))
