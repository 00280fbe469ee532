"""A tokenizer folder -> the openvino_tokenizer.xml beside it, which openvino_genai reads instead of the JSON."""

from pathlib import Path
from typing import Any

END_OF_WORD = "</w>"


def write_openvino_tokenizer(folder: Path) -> bool:
    """Convert the CLIP tokenizer in `folder`; return False, having written nothing, without openvino_tokenizers.

    Only openvino_genai needs the file, and openvino_tokenizers comes with it: not having it is no error.
    """
    try:
        import openvino
        from openvino_tokenizers import convert_tokenizer
        from transformers import CLIPTokenizerFast
    except ImportError:
        return False
    tokenizer = CLIPTokenizerFast.from_pretrained(folder, local_files_only=True)
    converted = convert_tokenizer(tokenizer, with_detokenizer=False)
    vocabulary, pad = tokenizer.get_vocab(), str(tokenizer.pad_token)
    if pad + END_OF_WORD in vocabulary:
        _replace_id(converted, vocabulary[pad + END_OF_WORD], int(vocabulary[pad]))
    openvino.save_model(converted, folder / "openvino_tokenizer.xml", compress_to_fp16=False)
    return True


def _replace_id(model: Any, word: int, special: int) -> None:
    """Give out `special` for `word`, in place.

    OpenCLIP pads with "!", which so is special, id 0, in every prompt. The converted tokenizer sets it apart too, but
    then looks it up as a word, "!</w>".
    """
    from openvino import opset13

    result = next(result for result in model.get_results() if "input_ids" in result.output(0).get_names())
    ids = result.input_value(0)
    names = ids.get_names()
    word_id, special_id = (opset13.constant(value, ids.get_element_type()) for value in (word, special))
    replaced = opset13.select(opset13.equal(ids, word_id), special_id, ids)
    ids.get_tensor().set_names(set())
    replaced.output(0).get_tensor().set_names(names)
    result.input(0).replace_source_output(replaced.output(0))
    model.validate_nodes_and_infer_types()
