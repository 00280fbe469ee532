"""The bias of a convolution: the Add behind it, of one constant for each channel."""

from typing import Any

import numpy as np


def bias_behind(convolution: Any) -> Any | None:
    """Return the Add that alone reads `convolution` and adds a Constant [1, O, 1, 1], None where there is none."""
    readers = convolution.output(0).get_target_inputs()
    if len(readers) != 1:
        return None
    add = next(iter(readers)).get_node()
    if add.get_type_name() != "Add":
        return None
    bias = add.input_value(1).get_node()
    channels = convolution.get_output_partial_shape(0)[1]
    is_bias = bias.get_type_name() == "Constant" and channels.is_static
    return add if is_bias and list(bias.get_output_shape(0)) == [1, channels.get_length(), 1, 1] else None


def with_bias_of_blocks(blocks: Any, add: Any) -> Any:
    """Return `blocks`, [B, 4 O, H, W] of the pixels of 2 x 2 blocks, plus the bias that `add` adds to each pixel."""
    from openvino import opset13

    bias = np.tile(add.input_value(1).get_node().get_data(), (1, 4, 1, 1))
    name = add.get_friendly_name()
    return opset13.add(blocks, opset13.constant(bias, name=f"{name}/bias"), name=f"{name}/blocks")
