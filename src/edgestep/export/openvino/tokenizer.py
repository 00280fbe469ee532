"""A tokenizer folder -> the openvino_tokenizer.xml beside it, which openvino_genai reads instead of the JSON."""

from pathlib import Path


def write_openvino_tokenizer(folder: Path) -> bool:
    """Convert the tokenizer in `folder`; return False, having written nothing, without openvino_tokenizers.

    Only openvino_genai needs the file, and openvino_tokenizers comes with it: not having it is no error.
    """
    try:
        import openvino
        from openvino_tokenizers import convert_tokenizer
        from transformers import CLIPTokenizerFast
    except ImportError:
        return False
    tokenizer = CLIPTokenizerFast.from_pretrained(folder)
    converted = convert_tokenizer(tokenizer, with_detokenizer=False)
    openvino.save_model(converted, folder / "openvino_tokenizer.xml", compress_to_fp16=False)
    return True
