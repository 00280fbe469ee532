"""An artifact -> its README.md: what it is, its contract, its sizes, what opens it, and how to run it."""

from edgestep.artifact import Artifact, File, NextStep, OneStep, TensorSpec
from edgestep.card_gates import gates_section
from edgestep.export.clients.example import example_from_artifact
from edgestep.export.coreml.apple import has_apple_pipeline

BASES = {"sd": "Stable Diffusion", "sdxl": "Stable Diffusion XL", "pixart": "PixArt-alpha", "sana": "SANA-Sprint"}
SMALL = 10_000
"""Files below that many bytes are not listed."""
NO_LICENCE = "The checkpoint names no licence: ask its publisher before you pass this on."
TINY = """\
The decoder is a tiny one, an approximation of the checkpoint's own VAE: pictures differ from that one's, however
exact the rest is."""
LOOP_CLIENTS = """\
No client that exists runs a loop whose steps are graphs of their own. There is no model_index.json, so that none runs
the first graph again and again; run them as the example does, or with `edgestep generate`."""
NO_CLIENTS = """\
No client that exists draws with {base} in one step. model_index.json and the configs say what the graphs are; run them
as the example does, or with `edgestep generate`."""
FUSED_CLIENTS = """\
One call draws, and needs no client: the example below is all. `edgestep generate` draws a prompt."""
ATTENTION = "onnxruntime 1.24 or newer runs it: attention is one operator, which older ones lack."
OPTIMUM = """\
optimum opens this folder: `ORTDiffusionPipeline.from_pretrained(folder)`, called with `num_inference_steps=1,
guidance_scale=1.0, height={height}, width={width}`."""
GENAI = """\
openvino_genai opens this folder: `Text2ImagePipeline(folder, "CPU", INFERENCE_PRECISION_HINT="f32")`, and
`generate(prompt, num_inference_steps=1, guidance_scale=1.0, height={height}, width={width})`. Without the hint a CPU
with bfloat16 instructions computes in those."""
GENAI_WITHOUT = """\
openvino_genai needs an openvino_tokenizer.xml beside every tokenizer.json, which openvino_tokenizers writes: it was not
installed when this was exported."""
COREML = """\
Core ML runs on Apple devices: add the packages to an app, or load them with `coremltools` on a Mac; `edgestep generate`
draws a prompt on any machine. Feed each graph what is listed above by name{feeds}.
"""
COREML_FEEDS = {
    "fused": "; `input_ids` are the prompt's, `noise` is standard normal",
    "apple": "; x0 = k_z z - k_e `noise_pred`, as above, VAEDecoder takes {latents}, and its `image` lies in [-1, 1]",
    "split": "; `out_sample` is x0, vae_decoder takes {latents}, and its `sample` lies in [-1, 1]",
}
"""Form -> what to feed and read."""
COREML_CLIENTS = {
    "fused": "One call draws, and needs no client; edgestep's examples/ios is a Swift file that makes it.",
    "apple": """\
Compiled (`xcrun coremlcompiler compile`), this is the folder that Apple's Swift package StableDiffusion reads. It has
no one-step sampler, so that the step is yours. Do not apply guidance: the graphs take a batch of one.""",
    "split": "No client that exists opens these packages by itself.",
}
RUNS = """\
The example draws the empty prompt, as image.png; tokenizer/tokenizer.json with the package `tokenizers` makes the ids
of others.

```python
{code}```
"""


def card_from_artifact(artifact: Artifact, files: tuple[File, ...], gates: str = "") -> str:
    """Return the text. `gates`: a paragraph on what was checked, in place of the words that nothing was yet."""
    contract = artifact.contract
    return f"""\
---
license: {artifact.licence}
pipeline_tag: text-to-image
---

# {artifact.name}

{_what(artifact)}

{_licence(artifact)}

{gates_section(gates)}
## Contract

{_contract(contract, artifact.format == "coreml" and _coreml_form(artifact) == "apple")}

## Graphs

{_signatures(artifact)}

{_sizes(files)}

## Clients

{_clients(artifact, files)}

## Example

{_example(artifact)}"""


def _what(artifact: Artifact) -> str:
    contract = artifact.contract
    steps = ", ".join(f"{t:g}" for t in (contract.timestep, *(step.timestep for step in contract.next_steps)))
    count = f"in {1 + len(contract.next_steps)} steps (t = {steps})" if contract.next_steps else "in one step"
    height, width = contract.image_size
    return _paragraphs(
        f"Draws pictures of {height} x {width} {count}: {contract.family}, on {BASES[contract.base]};\n"
        f"{artifact.format}, {artifact.scheme}, {artifact.layout} form, made by edgestep. "
        "`edgestep.json` lists every file with its hash.",
        TINY if contract.decoder == "tiny" else "",
    )


def _licence(artifact: Artifact) -> str:
    return NO_LICENCE if artifact.licence == "unknown" else f"Licence: {artifact.licence}, the checkpoint's."


def _contract(contract: OneStep, apple: bool) -> str:
    formula = "computed by the client" if apple else "inside the graph"
    return _paragraphs(
        f"x_in = {contract.k_in:.9g} z, {_x0(contract)}, t = {contract.timestep:g},\n"
        f"image = decode({_latents(contract)}). "
        f"z is standard normal noise, {list(contract.latent_shape)}; the formula is {formula}.\n"
        f"The network predicts {contract.prediction_type}.",
        _loop(contract),
        _prompt(contract),
    )


def _loop(contract: OneStep) -> str:
    """Return the later steps of a loop, a line each."""
    if not contract.next_steps:
        return ""
    lines = [
        f"- z = {step.m_z:.9g} z{_term(step.m_x, ' x0')}{_term(step.m_n, ' n')},"
        f" x_in = {step.k_in:.9g} z, {_x0(step)}, t = {step.timestep:g}"
        for step in contract.next_steps
    ]
    return "Then, n being fresh standard normal noise:\n\n" + "\n".join(lines)


def _x0(step: OneStep | NextStep) -> str:
    return f"x0 = {step.k_z:.9g} z{_term(-step.k_e, ' F(x_in, t, prompt)')}"


def _term(factor: float, name: str) -> str:
    return f" {'-' if factor < 0 else '+'} {abs(factor):.9g}{name}"


def _prompt(contract: OneStep) -> str:
    lines = ["No guidance: it is distilled in, a client must not apply classifier-free guidance."]
    if contract.guidance_embedding is not None:
        lines.append(f"The guidance scale that the network is told, {contract.guidance_embedding:g}, is folded in.")
    tokens = [contract.prompt_tokens, *(more.prompt_tokens for more in contract.more_tokenizers)]
    pads = [contract.pad_token_id, *(more.pad_token_id for more in contract.more_tokenizers)]
    for i, (count, pad) in enumerate(zip(tokens, pads, strict=True)):
        lines.append(f"Prompts are padded to {count} tokens with {pad}{', for text_encoder_2' if i else ''}.")
    if contract.prompt_prefix:
        lines.append("`prompt_prefix` of the manifest goes before every prompt.")
    return "\n".join(lines)


def _signatures(artifact: Artifact) -> str:
    lines = [f"- {c.name}: {_specs(c.inputs)} -> {_specs(c.outputs)}" for c in artifact.components]
    if any(-1 in spec.shape for c in artifact.components for spec in c.inputs):
        lines.append("\nA size of -1 is free.")
    return "\n".join(lines)


def _specs(specs: tuple[TensorSpec, ...]) -> str:
    """Return names, types and shapes; an encoder's many hidden states as the first and the last."""
    states = [spec for spec in specs if spec.name.startswith("hidden_states.")]
    named = {spec.name: f"{spec.name} {spec.dtype}{list(spec.shape)}" for spec in specs if spec not in states[1:]}
    if len(states) > 1:
        named[states[0].name] = (
            f"{states[0].name} to " + f"{states[-1].name} {states[-1].dtype}{list(states[-1].shape)}"
        )
    return ", ".join(named.values())


def _sizes(files: tuple[File, ...]) -> str:
    return "\n".join(f"- `{file.path}`: {file.bytes:,} bytes" for file in files if file.bytes >= SMALL)


def _clients(artifact: Artifact, files: tuple[File, ...]) -> str:
    contract = artifact.contract
    if artifact.format == "coreml":
        return COREML_CLIENTS[_coreml_form(artifact)]
    if artifact.layout == "fused":
        attention = artifact.format == "onnx" and artifact.scheme != "fp16"
        return f"{FUSED_CLIENTS}\n{ATTENTION}" if attention else FUSED_CLIENTS
    if contract.next_steps:
        return LOOP_CLIENTS
    if contract.base in ("pixart", "sana"):
        return NO_CLIENTS.format(base=BASES[contract.base])
    height, width = contract.image_size
    if artifact.format == "onnx":
        return OPTIMUM.format(height=height, width=width)
    converted = any(file.path == "tokenizer/openvino_tokenizer.xml" for file in files)
    return GENAI.format(height=height, width=width) if converted else GENAI_WITHOUT


def _example(artifact: Artifact) -> str:
    if artifact.format == "coreml":
        return COREML.format(feeds=COREML_FEEDS[_coreml_form(artifact)].format(latents=_latents(artifact.contract)))
    return RUNS.format(code=example_from_artifact(artifact))


def _coreml_form(artifact: Artifact) -> str:
    return "fused" if artifact.layout == "fused" else "apple" if has_apple_pipeline(artifact.contract) else "split"


def _latents(contract: OneStep) -> str:
    shift = _term(contract.latent_shift, "") if contract.latent_shift else ""
    return f"x0 / {contract.latent_scale:.9g}{shift}"


def _paragraphs(*parts: str) -> str:
    return "\n\n".join(part for part in parts if part)
