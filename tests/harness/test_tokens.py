"""Does the artifact's own tokenizer feed it what the bundle was drawn from?"""

import json
import shutil
from dataclasses import replace

import numpy as np
import pytest

from edgestep.artifact import read_artifact
from edgestep.harness.parity.gates import PROMPT_IDS
from edgestep.harness.parity.tokens import judge_prompts
from edgestep.harness.reference.bundle import Reference


@pytest.fixture
def copied(split_folder, tmp_path):
    shutil.copytree(split_folder, tmp_path / "artifact")
    return tmp_path / "artifact"


def test_the_own_tokenizer_passes(split_folder, reference):
    result = judge_prompts(split_folder, read_artifact(split_folder), reference)
    assert (result.measure, result.worst, result.passed, result.failures) == (PROMPT_IDS, 0.0, True, ())


def test_another_pad_token_fails_in_every_case_and_says_where(split_folder, reference):
    artifact = read_artifact(split_folder)
    contract = replace(artifact.contract, pad_token_id=artifact.contract.pad_token_id - 1)
    result = judge_prompts(split_folder, replace(artifact, contract=contract), reference)
    assert result.passed is False and result.worst == len(reference.cases) == len(result.failures)
    assert result.case == reference.cases[0].name
    at = int(result.reason.split("[")[1].split("]")[0])
    ids = reference.cases[0].input_ids[0]
    assert ids[at] == artifact.contract.pad_token_id and ids[at - 1] == artifact.contract.eos_token_id


def test_only_the_case_whose_prompt_differs_fails(split_folder, reference):
    last = reference.cases[-1]
    ids = last.input_ids.copy()
    ids[0, 1] += 1
    cases = (*reference.cases[:-1], replace(last, prompt="another red heart", input_ids=ids))
    result = judge_prompts(split_folder, read_artifact(split_folder), Reference(reference.index, cases))
    assert result.passed is False and result.worst == 1 and result.case == last.name


@pytest.mark.parametrize(
    ("damage", "told"),
    [
        (lambda path: path.unlink(), "got no "),
        (lambda path: path.write_text(json.dumps({**json.loads(path.read_text()), "x": 1})), "another"),
    ],
)
def test_a_tokenizer_that_cannot_be_used_fails_and_says_why(copied, reference, damage, told):
    artifact = read_artifact(copied)
    damage(copied / "tokenizer" / "tokenizer.json")
    result = judge_prompts(copied, artifact, reference)
    assert result.passed is False and told in result.reason and "\n" not in result.reason


def test_another_number_of_tokens_is_told_as_shapes(split_folder, reference):
    artifact = read_artifact(split_folder)
    longer = replace(artifact, contract=replace(artifact.contract, prompt_tokens=artifact.contract.prompt_tokens + 1))
    result = judge_prompts(split_folder, longer, reference)
    expected = np.array(reference.cases[0].input_ids.shape)
    assert result.passed is False and str(expected.tolist()) in result.reason
