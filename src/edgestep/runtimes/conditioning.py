"""Token ids -> what the denoiser is told of the prompt, in the order of a split artifact's graphs.

sd             text_encoder                     encoder_hidden_states
sdxl           text_encoder, text_encoder_2     the states before the last, side by side; text_embeds; time_ids
pixart, sana   text_encoder with its mask       encoder_hidden_states, encoder_attention_mask
"""

from collections.abc import Callable, Mapping

import numpy as np

from edgestep.artifact import OneStep

Arrays = Mapping[str, np.ndarray]
Run = Callable[[str, Arrays], Arrays]
"""Component name, arrays by input name -> its outputs by name."""


def conditioning(contract: OneStep, inputs: Arrays, run: Run) -> dict[str, np.ndarray]:
    """Return the denoiser's inputs beside sample and timestep; `inputs` are those of `Drawer.draw`."""
    return CONDITIONING[contract.base](contract, inputs, run)


def _sd(contract: OneStep, inputs: Arrays, run: Run) -> dict[str, np.ndarray]:
    return {"encoder_hidden_states": run("text_encoder", inputs)["last_hidden_state"]}


def _sdxl(contract: OneStep, inputs: Arrays, run: Run) -> dict[str, np.ndarray]:
    first = run("text_encoder", inputs)
    second = run("text_encoder_2", {"input_ids": inputs["input_ids_2"]})
    states = np.concatenate([_before_last(first), _before_last(second)], axis=-1)
    sizes = time_ids(contract, inputs["noise"].shape)
    pooled = second["text_embeds"] if "text_embeds" in second else second["pooled_outputs"]
    return {"encoder_hidden_states": states, "text_embeds": pooled, "time_ids": sizes}


def _masked(contract: OneStep, inputs: Arrays, run: Run) -> dict[str, np.ndarray]:
    out = run("text_encoder", inputs)
    told = {"encoder_hidden_states": "last_hidden_state", "encoder_attention_mask": "encoder_attention_mask"}
    return {name: out[output] for name, output in told.items()}


CONDITIONING: dict[str, Callable[[OneStep, Arrays, Run], dict[str, np.ndarray]]] = {
    "sd": _sd,
    "sdxl": _sdxl,
    "pixart": _masked,
    "sana": _masked,
}
"""OneStep.base -> how a prompt becomes the denoiser's inputs."""


def time_ids(contract: OneStep, noise: tuple[int, ...]) -> np.ndarray:
    """Return SDXL's size conditioning, float32 [B, 6]: the picture's own size, no crop; for noise of that shape."""
    factor = contract.image_size[0] // contract.latent_shape[1]
    height, width = noise[2] * factor, noise[3] * factor
    return np.tile(np.array([[height, width, 0, 0, height, width]], np.float32), (noise[0], 1))


def _before_last(outputs: Arrays) -> np.ndarray:
    """Return the last of hidden_states.0, hidden_states.1 ...: the graphs do not return what the last layer gives.

    Apple's layout of Core ML gives that one alone, as hidden_embeds.
    """
    if "hidden_embeds" in outputs:
        return outputs["hidden_embeds"]
    layers = [int(name.rpartition(".")[2]) for name in outputs if name.startswith("hidden_states.")]
    return outputs[f"hidden_states.{max(layers)}"]
