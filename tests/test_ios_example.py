"""The Swift sample cannot be compiled here; what it relies on is held against an exported package all the same.

Its constants are read from the Swift source, and its tokenizer is translated to Python with the source's own pattern.
"""

import json
import re
import shlex
import unicodedata
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import typer

from edgestep.artifact import BadInput, OneStep
from edgestep.cli import app
from edgestep.export.coreml.folder import write_coreml
from edgestep.export.graph.graphs import Graphs
from edgestep.export.recipe.contract import contract_from_checkpoint
from edgestep.export.source.checkpoint import open_checkpoint
from edgestep.harness.reference.prompts import PROMPTS
from edgestep.runtimes.tokenizer import ids_from_prompt

regex = pytest.importorskip("regex")  # Python's own has no \p{L}

FOLDER = Path(__file__).parent.parent / "examples" / "ios"
SWIFT = (FOLDER / "OneStep.swift").read_text()
README = (FOLDER / "README.md").read_text()
NAMES = dict(re.findall(r'static let (inputIds|noise|image|contract) = "([^"]+)"', SWIFT))
PATTERN = re.search(r'static let pattern = #"(.*?)"#', SWIFT)
ODD_PROMPTS = (
    "it's 3 o'clock: don't!",
    "Ünïcödé  cafe\u0301\tпривет 漢字 👍🏽",
    "a1b22c333 x'll we've",
    "ABC abc …—“quoted”",
)


@pytest.fixture(scope="module")
def described(tiny: Path, tmp_path_factory: pytest.TempPathFactory):
    """Return the description of the fused package of a tiny checkpoint, and its contract."""
    from coremltools.proto import Model_pb2

    checkpoint = open_checkpoint(tiny)
    contract = contract_from_checkpoint(checkpoint)
    out = tmp_path_factory.mktemp("ios")
    write_coreml(out, Graphs(checkpoint, contract), ("generator",), "fp16")
    spec = Model_pb2.Model()
    spec.ParseFromString((out / "generator.mlpackage/Data/com.apple.CoreML/model.mlmodel").read_bytes())
    return spec.description, contract


def test_the_sample_feeds_every_input_and_reads_the_output(described):
    description, contract = described
    assert {feature.name for feature in description.input} == {NAMES["inputIds"], NAMES["noise"]}
    arrays = {feature.name: feature.type.multiArrayType for feature in description.input}
    # Shapes and types are read from the package; ids are made for prompt_tokens of them, noise one number at a time.
    assert list(arrays[NAMES["inputIds"]].shape) == [1, contract.prompt_tokens]
    assert list(arrays[NAMES["noise"]].shape) == [1, *contract.latent_shape]
    assert [feature.name for feature in description.output] == [NAMES["image"]]
    image = description.output[0].type.imageType
    assert (image.height, image.width) == contract.image_size
    assert image.colorSpace == image.ColorSpace.Value("RGB")


def test_the_metadata_has_the_contract_that_the_sample_decodes(described):
    description, contract = described
    told = json.loads(description.metadata.userDefined[NAMES["contract"]])
    keys = re.findall(r'case \w+ = "(\w+)"', SWIFT)
    assert keys == ["prompt_tokens", "bos_token_id", "eos_token_id", "pad_token_id"]
    assert {key: told[key] for key in keys} == {key: getattr(contract, key) for key in keys}
    assert all(isinstance(told[key], int) for key in keys)


def test_the_files_that_the_view_looks_for_are_an_artifact_s(emoji: Path):
    assert re.findall(r'forResource: "(\w+)", withExtension: "(\w+)"', SWIFT) == [("generator", "mlmodelc")]
    for name in re.findall(r'appending\(path: "([\w.]+)"\)', SWIFT):
        assert (emoji / "tokenizer" / name).is_file()


def byte_letters() -> dict[int, str]:
    """Translate `byteLetters`, with the ranges that stand in the Swift source."""
    ranges = re.findall(r"Array\((\d+) \.\.\. (\d+)\)", SWIFT)
    printable = {byte for first, last in ranges for byte in range(int(first), int(last) + 1)}
    others = iter(range(256, 512))
    return {byte: chr(byte if byte in printable else next(others)) for byte in range(256)}


class SwiftTokenizer:
    """ClipTokenizer of OneStep.swift, line by line."""

    def __init__(self, folder: Path) -> None:
        self.vocabulary = json.loads((folder / "vocab.json").read_text())
        lines = [line for line in (folder / "merges.txt").read_text().split("\n") if line]
        pairs = [line for line in lines if not line.startswith("#version")]
        self.ranks = {pair: rank for rank, pair in reversed(list(enumerate(pairs)))}
        self.letters = byte_letters()
        assert PATTERN
        self.words = regex.compile(PATTERN[1])

    def ids(self, prompt: str, contract: OneStep) -> list[int]:
        text = unicodedata.normalize("NFC", prompt).lower()
        tokens = [token for word in self.words.findall(text) for token in self.merged(word.encode())]
        found = [self.vocabulary.get(token, contract.eos_token_id) for token in tokens]
        ids = [contract.bos_token_id, *found, contract.eos_token_id]
        return ids + [contract.pad_token_id] * (contract.prompt_tokens - len(ids))

    def merged(self, word: bytes) -> list[str]:
        parts = [self.letters[byte] for byte in word]
        parts[-1] += "</w>"
        while len(parts) > 1:
            ranks = [self.ranks.get(f"{a} {b}", 1 << 60) for a, b in pairwise(parts)]
            if min(ranks) == 1 << 60:
                break
            at = ranks.index(min(ranks))
            parts[at] += parts.pop(at + 1)
        return parts


def test_its_tokenizer_is_the_artifact_s(emoji: Path):
    contract = contract_from_checkpoint(open_checkpoint(emoji))
    tokenizer = SwiftTokenizer(emoji / "tokenizer")
    checked = 0
    for prompt in (*PROMPTS, *(emoji / "prompts.txt").read_text().splitlines(), *ODD_PROMPTS):
        try:
            expected = ids_from_prompt(emoji, contract, prompt)[0]
        except BadInput:
            continue  # too long, or empty
        np.testing.assert_array_equal(tokenizer.ids(prompt, contract), expected, err_msg=prompt)
        checked += 1
    assert checked > 450


COMMANDS = [line.strip() for line in README.splitlines() if line.strip().startswith("edgestep ")]


@pytest.mark.parametrize("line", COMMANDS)
def test_the_readme_s_commands_parse(line: str):
    words = shlex.split(line)[1:]
    command = typer.main.get_command(app).commands[words[0]]  # type: ignore[attr-defined]
    command.make_context(words[0], words[1:])


def test_both_files_say_that_nothing_was_compiled():
    assert "Not compiled here" in SWIFT
    assert "Not compiled here" in README
