"""Which modules keep 8 bits in w4."""

from edgestep.quantize.at_8_bits import layers_at_8_bits

FIRST = "unet.down_blocks.0.resnets.0.conv1/Conv"
SECOND = "unet.down_blocks.1.resnets.0.conv1/Conv"
SHORTCUT = "unet.down_blocks.1.resnets.0.conv_shortcut/Conv"
PROJECTION = "unet.mid_block.attentions.0.proj_in/Conv"
VALUES = "unet.mid_block.attentions.0.transformer_blocks.0.attn2.to_v/MatMul"
LAST = ("unet.up_blocks.10.resnets.0.conv1/Conv", "unet.up_blocks.10.attentions.0.transformer_blocks.0.ff.net.2/MatMul")
BEFORE = "unet.up_blocks.9.resnets.0.conv1/Conv"
TEXT = "text_encoder.text_model.encoder.layers.0.mlp.fc1/MatMul"
DECODER = "vae.decoder.up_blocks.10.resnets.0.conv1/Conv"
ALL = (FIRST, SECOND, SHORTCUT, PROJECTION, VALUES, *LAST, BEFORE, TEXT, DECODER)


def test_the_text_encoder_and_the_first_and_last_block_of_a_unet_have_8_bits():
    assert layers_at_8_bits(ALL) == {FIRST, SHORTCUT, PROJECTION, *LAST, TEXT}


def test_a_format_may_ask_for_more_and_for_a_part_of_the_last_block():
    assert layers_at_8_bits(ALL, also=r"\.attn2\.to_v$", of_last=r"resnets\.0\.") == {
        *(FIRST, SHORTCUT, PROJECTION, VALUES, LAST[0], TEXT)
    }


def test_no_unet_no_last_block():
    assert layers_at_8_bits((DECODER, TEXT, "vae.decoder.up_blocks.-1.conv/Conv")) == {TEXT}
