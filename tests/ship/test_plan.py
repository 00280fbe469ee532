"""Which artifacts a target gets, and in what order they are made."""

from pathlib import Path

import pytest

from edgestep.artifact import BadInput
from edgestep.ship.plan import CONTROL, jobs_from_targets
from edgestep.targets import TARGETS, target_named


def test_parents_come_first_and_are_shown_only_where_the_target_asks_for_them():
    jobs = jobs_from_targets("emoji", [TARGETS["x86"], TARGETS["intel"], TARGETS["mac"]])
    names = [job.name for job in jobs]
    assert len(names) == len(set(names))
    for job in jobs:
        assert not job.parent or names.index(job.parent) < names.index(job.name)
    hidden = [job.name for job in jobs if not job.shown and job.scheme != CONTROL]
    assert hidden == ["emoji-openvino-fp32", "emoji-openvino-fp32-fused"]
    controls = {job.name for job in jobs if job.scheme == CONTROL}
    assert controls == {f"emoji-{form}-{CONTROL}{layout}" for form in ("onnx", "openvino") for layout in ("", "-fused")}
    assert {job.control for job in jobs if job.scheme == "w8a8"} == controls
    assert all(not job.shown for job in jobs if job.scheme == CONTROL)
    shown = [job.name for job in jobs if job.shown]
    assert len(shown) == 6 + 4 + 2
    assert {"emoji-mac-fp16", "emoji-mac-fp16-fused"} <= set(shown)


def test_two_targets_of_one_format_and_other_options_share_no_artifact():
    jobs = {job.name: job for job in jobs_from_targets("emoji", [TARGETS["mac"], TARGETS["iphone"]])}
    assert len(jobs) == 2 + 8 + 2  # and the naive counterparts of what is quantized
    assert jobs["emoji-mac-fp16"].target.options["compute_unit"] == "gpu"
    assert jobs["emoji-iphone-fp16"].target.options["compute_unit"] == "ane"
    assert all(jobs[f"emoji-iphone-{scheme}-fused"].shown for scheme in ("fp16", "w8", "p6", "w8a8"))
    assert {jobs[f"emoji-iphone-{scheme}"].parent for scheme in ("w8", "p6", "w8a8")} == {"emoji-iphone-fp16"}
    assert jobs["emoji-iphone-fp16"].parent == ""


def test_what_is_only_built_upon_stands_apart():
    jobs = {job.name: job for job in jobs_from_targets("emoji", [TARGETS["intel"]])}
    assert jobs["emoji-openvino-fp32"].folder(Path("out")) == Path("out/intermediate/emoji-openvino-fp32")
    assert jobs["emoji-openvino-w8a8"].folder(Path("out")) == Path("out/artifacts/emoji-openvino-w8a8")


def test_unknown_target_names_the_known_ones():
    with pytest.raises(BadInput, match="x86, intel, mac, iphone"):
        target_named("toaster")
