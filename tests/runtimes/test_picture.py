"""Pictures are written losslessly, and whole or not at all."""

import numpy as np
import pytest
from PIL import Image

from edgestep.artifact import BadInput
from edgestep.runtimes.picture import write_picture

PICTURE = np.random.default_rng(0).integers(0, 256, (5, 7, 3)).astype(np.uint8)


@pytest.mark.parametrize("name", ["face.png", "FACE.PNG", "new/folder/face.webp"])
def test_reads_back_the_same_bytes(tmp_path, name):
    write_picture(PICTURE, tmp_path / name)
    np.testing.assert_array_equal(np.asarray(Image.open(tmp_path / name).convert("RGB")), PICTURE)
    assert [path.name for path in (tmp_path / name).parent.iterdir()] == [(tmp_path / name).name]


@pytest.mark.parametrize("name", ["face", "face.jpg"])
def test_refuses_other_suffixes(tmp_path, name):
    with pytest.raises(BadInput, match=r"\.png"):
        write_picture(PICTURE, tmp_path / name)


@pytest.mark.parametrize("image", [PICTURE / 255, PICTURE[None], PICTURE[..., :1]], ids=["float", "batch", "grey"])
def test_refuses_other_arrays(tmp_path, image):
    with pytest.raises(BadInput, match="uint8"):
        write_picture(image, tmp_path / "face.png")


def test_a_folder_that_cannot_be_written(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(BadInput, match="cannot be written"):
        write_picture(PICTURE, tmp_path / "file" / "face.png")
