"""A 3 x 3 convolution -> another whose outputs are those of 2 x 2 pixels, put in order behind it.

The outputs are [B, 4 O, H, W], the pixels of a block one after the other: the upper two, then the lower two.
"""

from typing import Any

import numpy as np


def keeps_size(convolution: Any) -> bool:
    """Tell whether it is 3 x 3 of a float Constant, all sizes known, and gives as many pixels as it reads."""
    weight, given = convolution.input_value(1).get_node(), convolution.get_attributes()
    if weight.get_type_name() != "Constant" or convolution.get_output_partial_shape(0).is_dynamic:
        return False
    ones = all(list(given[key]) == [1, 1] for key in ("strides", "dilations", "pads_begin", "pads_end"))
    return ones and list(weight.get_output_shape(0))[2:] == [3, 3]


def replace_by_blocks(convolution: Any, blocks: Any, *, begun_early: bool = False) -> None:
    """Let what reads `convolution`, and its bias where there is one, read the pixels of `blocks`.

    The bias is added to the blocks. Where they are `begun_early`, they start one pixel before the picture does, in
    both directions, and end one behind it: those pixels are cut off.
    """
    from openvino import opset13

    add = _bias_behind(convolution)
    last = convolution if add is None else add
    name, readers = last.get_friendly_name(), last.output(0).get_target_inputs()
    blocks = blocks if add is None else _plus_bias(blocks, add)
    pixels = opset13.depth_to_space(blocks, "blocks_first", 2, name=f"{name}/pixels" if begun_early else name)
    if begun_early:
        ends = (opset13.constant(np.array(values, np.int64)) for values in ([1, 1], [-1, -1], [1, 1], [2, 3]))
        pixels = opset13.slice(pixels, *ends, name=name)
    for reader in readers:
        reader.replace_source_output(pixels.output(0))


def _bias_behind(convolution: Any) -> Any | None:
    """Return the Add that alone reads it and adds a Constant [1, O, 1, 1], None where there is none."""
    readers = convolution.output(0).get_target_inputs()
    if len(readers) != 1:
        return None
    add = next(iter(readers)).get_node()
    if add.get_type_name() != "Add" or add.input_value(1).get_node().get_type_name() != "Constant":
        return None
    of_channels = [1, convolution.get_output_shape(0)[1], 1, 1]
    return add if list(add.get_input_shape(1)) == of_channels else None


def _plus_bias(blocks: Any, add: Any) -> Any:
    from openvino import opset13

    bias = np.tile(add.input_value(1).get_node().get_data(), (1, 4, 1, 1))
    name = add.get_friendly_name()
    return opset13.add(blocks, opset13.constant(bias, name=f"{name}/bias"), name=f"{name}/blocks")
