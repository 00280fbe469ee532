"""A webdataset's archives -> rows."""

import io
import subprocess
import sys
import tarfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
import torch

from edgestep.artifact import BadInput
from edgestep.distill.data.open_data import open_data

RNG = np.random.default_rng(0)
LATENTS = RNG.standard_normal((5, 2, 3, 3)).astype(np.float16)


def letters(texts: Sequence[str]) -> torch.Tensor:
    """A tokenizer for tests: four letters' code points, 0 after the end."""
    return torch.tensor([[ord(c) for c in text[:4].ljust(4, "\0")] for text in texts]).reshape(-1, 4)


def npy(latent: np.ndarray) -> bytes:
    file = io.BytesIO()
    np.save(file, latent)
    return file.getvalue()


def write_tar(path: Path, members: dict[str, bytes], mode: str = "w") -> None:
    with tarfile.open(path, mode) as tar:
        for name, content in members.items():
            member = tarfile.TarInfo(name)
            member.size = len(content)
            tar.addfile(member, io.BytesIO(content))


def members(rows: Sequence[int]) -> dict[str, bytes]:
    pairs = [{f"{i:03d}.latent.npy": npy(LATENTS[i]), f"{i:03d}.txt": f"p{i} é\n".encode()} for i in rows]
    return {name: content for pair in pairs for name, content in pair.items()}


def test_rows_come_from_several_archives_in_any_order(tmp_path: Path):
    write_tar(tmp_path / "a.tar", {"readme.md": b"hello", **members([0, 1, 2])})
    shuffled = dict(reversed(members([3, 4]).items()))  # the text before the latent, 4 before 3
    write_tar(tmp_path / "b.tar", {f"deep.er/{name}": content for name, content in shuffled.items()})
    data = open_data(tmp_path, letters)
    assert (len(data), data.latent_shape, data.prompt_tokens) == (5, (2, 3, 3), 4)
    index = torch.tensor([4, 0, 2, 2, 3])
    stored = [3, 0, 2, 2, 4]
    latents, ids = data.take(index)
    assert latents.dtype == torch.float32
    assert torch.equal(latents, torch.from_numpy(LATENTS[stored]).float())
    assert data.texts(index) == [f"p{i} é" for i in stored]
    assert torch.equal(ids, letters([f"p{i} é" for i in stored]))
    with pytest.raises(IndexError):
        data.take(torch.tensor([5]))


def test_float32_is_read_too(tmp_path: Path):
    exact = RNG.standard_normal((2, 3, 3)).astype(np.float32)
    write_tar(tmp_path / "a.tar", {"0.txt": b"x", "0.latent.npy": npy(exact)})
    assert torch.equal(open_data(tmp_path, letters).take(torch.tensor([0]))[0][0], torch.from_numpy(exact))


WRONG = {
    "broken archive": b"no tar at all" * 100,
    "empty file": b"",
    "alone in": {"0.txt": b"x"},
    "no NAME.latent.npy": {"notes.md": b"x"},
    "no .npy file": {"0.txt": b"x", "0.latent.npy": b"numbers"},
    r"float64 \(2, 3, 3\)": {"0.txt": b"x", "0.latent.npy": npy(LATENTS[0].astype(np.float64))},
    r"\(3, 3\)": {"0.txt": b"x", "0.latent.npy": npy(LATENTS[0, 0])},
    "in C order": {"0.txt": b"x", "0.latent.npy": npy(np.asfortranarray(LATENTS[0]))},
    "in 145 bytes": {"0.txt": b"x", "0.latent.npy": npy(LATENTS[0])[:145]},
    "expected one kind": {**members([0]), "1.txt": b"x", "1.latent.npy": npy(LATENTS[0, :1])},
}


@pytest.mark.parametrize("told", WRONG)
def test_bad_archives_are_told(tmp_path: Path, told: str):
    content = WRONG[told]
    if isinstance(content, bytes):
        (tmp_path / "a.tar").write_bytes(content)
    else:
        write_tar(tmp_path / "a.tar", content)
    with pytest.raises(BadInput, match=told):
        open_data(tmp_path, letters)


def test_torn_and_compressed_archives_are_told(tmp_path: Path):
    write_tar(tmp_path / "a.tar", members([0, 1, 2]))
    whole = (tmp_path / "a.tar").read_bytes()
    (tmp_path / "a.tar").write_bytes(whole[:1200])
    with pytest.raises(BadInput, match=r"broken archive|alone in"):
        open_data(tmp_path, letters)
    write_tar(tmp_path / "a.tar", members([0]), mode="w:gz")
    with pytest.raises(BadInput, match="not compressed"):
        open_data(tmp_path, letters)


def test_objects_are_not_unpickled(tmp_path: Path):
    file = io.BytesIO()
    np.save(file, np.array([{"a": 1}], dtype=object), allow_pickle=True)
    write_tar(tmp_path / "a.tar", {"0.txt": b"x", "0.latent.npy": file.getvalue()})
    with pytest.raises(BadInput, match="expected float16"):
        open_data(tmp_path, letters)


def test_rows_that_cannot_train_are_told_when_they_are_read(tmp_path: Path):
    bad = LATENTS[1].copy()
    bad[0, 0, 0] = np.nan
    write_tar(tmp_path / "a.tar", {**members([0]), "1.txt": b"\xff", "1.latent.npy": npy(bad)})
    data = open_data(tmp_path, letters)
    with pytest.raises(BadInput, match="not finite in row 1"):
        data.take(torch.tensor([0, 1]))
    with pytest.raises(BadInput, match="row 1 in another encoding"):
        data.texts(torch.tensor([1]))


def test_texts_need_a_tokenizer(tmp_path: Path):
    write_tar(tmp_path / "a.tar", members([0]))
    with pytest.raises(BadInput, match="no tokenizer"):
        open_data(tmp_path)


READER = """
import sys
from pathlib import Path
import torch
from edgestep.distill.data.batches import batch_index
from edgestep.distill.data.open_data import open_data

def anonymous():
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("RssAnon"))

data = open_data(Path(sys.argv[1]), lambda texts: torch.zeros(len(texts), 4, dtype=torch.int64))
data.take(batch_index(len(data), 64, 0, seed=0))
before = anonymous()
for step in range(1, len(data) // 64):
    data.take(batch_index(len(data), 64, step, seed=0))
print(anonymous() - before)
"""


@pytest.mark.skipif(not Path("/proc/self/status").is_file(), reason="memory is read from Linux's /proc")
def test_an_epoch_takes_no_memory(tmp_path: Path):
    large = npy(np.ones((4, 64, 64), np.float16))
    content = {name: data for i in range(1536) for name, data in ((f"{i}.latent.npy", large), (f"{i}.txt", b"x"))}
    write_tar(tmp_path / "a.tar", content)
    assert (tmp_path / "a.tar").stat().st_size > 50_000_000
    done = subprocess.run(
        [sys.executable, "-c", READER, str(tmp_path)], check=True, capture_output=True, text=True, timeout=120
    )
    assert int(done.stdout) < 8_000, f"grew by {done.stdout} kB"
