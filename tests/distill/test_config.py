"""The config: what is published of a method, what a file says over it, and what is refused in one line."""

import json
from dataclasses import replace
from pathlib import Path

import pytest

from edgestep.artifact import BadInput
from edgestep.distill.config import PUBLISHED, Config, check_config
from edgestep.distill.train import config_from_json, config_from_options


def test_the_methods_differ_as_published():
    dmd, dmd2 = config_from_options(None, None), config_from_options(None, "dmd2")
    assert dmd == Config() == PUBLISHED["dmd"]
    assert dmd.regression_weight > 0 and dmd.regression_steps > 0 and not dmd.adversarial_weight
    assert (dmd2.regression_weight, dmd2.regression_steps, dmd2.fake_updates) == (0.0, 0, 5)
    assert dmd2.adversarial_weight > 0
    for config in PUBLISHED.values():
        check_config(config)


def test_a_file_is_over_its_method_and_the_command_line_over_the_file(tmp_path: Path):
    path = tmp_path / "c.json"
    path.write_text(json.dumps({"method": "dmd2", "batch": 6, "later_steps": [749, 499]}))
    config = config_from_json(path)
    assert config == replace(PUBLISHED["dmd2"], batch=6, later_steps=(749, 499))
    path.write_text(json.dumps({"batch": 6}))
    assert config_from_options(path, "dmd2") == replace(PUBLISHED["dmd2"], batch=6)
    assert config_from_options(path, None) == Config(batch=6)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ('{"batches": 4}', "got batches in .*expected some of .*batch"),
        ("{", "no config"),
        ("[]", "no config"),
        ("3", "no config"),
        ('{"method": "dmd3"}', "method 'dmd3'; expected one of dmd, dmd2"),
        ('{"regression_kind": "l1"}', "regression_kind 'l1'; expected one of l2, huber, lpips"),
        ('{"batch": "48"}', "got batch '48'; expected int"),
        ('{"batch": 0}', "batch 0"),
        ('{"lr": -1}', "got lr -1; expected 0 or more"),
        ('{"lr": null}', "got lr None; expected float"),
        ('{"gradient_checkpointing": 1}', "gradient_checkpointing 1; expected bool"),
        ('{"later_steps": [1000], "regression_weight": 0}', "falling"),
        ('{"later_steps": [500, 700], "regression_weight": 0}', "falling"),
        ('{"later_steps": 500, "regression_weight": 0}', "got later_steps 500; expected tuple"),
        ('{"later_steps": [500]}', "later_steps .* and regression_weight"),
        ('{"fake_updates": 0}', "fake_updates 0"),
    ],
)
def test_what_cannot_be_trained_is_refused_in_one_line(tmp_path: Path, text: str, words: str):
    path = tmp_path / "c.json"
    path.write_text(text)
    with pytest.raises(BadInput, match=words) as refused:
        config_from_options(path, None)
    assert "\n" not in str(refused.value)


def test_a_missing_file_is_refused(tmp_path: Path):
    with pytest.raises(BadInput, match="no config"):
        config_from_options(tmp_path / "none.json", None)
