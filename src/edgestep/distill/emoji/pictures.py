"""npm icon packages -> picture tensor + captions.

Each package holds `icons.json` (name -> SVG body) and `metadata.json` (category -> names); resvg draws them.
"""

import io
import json
import shutil
import subprocess
import tarfile
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from safetensors.numpy import save_file
from safetensors.torch import load_file

from edgestep.artifact import BadInput
from edgestep.distill.emoji.concepts import concepts_from_packages, is_held_out, others_in_packages
from edgestep.distill.emoji.recipe import PACKAGES, EmojiRecipe
from edgestep.distill.progress import track

MEMBERS = ("icons", "metadata", "info", "package")
"""The JSON files of an icon package that are read."""

MORE_FILE = "more.safetensors"


def fetch_packages(folder: Path) -> None:
    """Put each icon package's tarball into `folder`, by name, through npm. Tarballs that are there stay."""
    folder.mkdir(parents=True, exist_ok=True)
    missing = [name for style, name in PACKAGES.items() if not list(folder.glob(tarball_pattern(style)))]
    npm = shutil.which("npm")
    if missing and npm is None:
        raise BadInput(
            f"got no npm on this machine; expected npm, or the tarballs of {', '.join(missing)} in {folder}; "
            "install Node.js, or put the tarballs there"
        )
    for name in missing:
        done = subprocess.run([str(npm), "pack", "--silent", name], cwd=folder, check=False, capture_output=True)
        if done.returncode:
            raise BadInput(
                f"got no {name} from npm; expected its tarball in {folder}; check the network, or put it there"
            )


def tarball_pattern(style: str) -> str:
    """Return the glob of a style's tarball: `iconify-json-noto-1.2.9.tgz`, and not noto-v1's."""
    return PACKAGES[style].removeprefix("@").replace("/", "-") + "-[0-9]*.tgz"


def read_package(tarball: Path) -> dict:
    """Return {"icons", "aliases", "categories", "size", "version", "licence"} of one icon package."""
    try:
        with tarfile.open(tarball) as tar:
            icons, metadata, info, package = (_member_json(tar, f"package/{name}.json") for name in MEMBERS)
    except (tarfile.TarError, KeyError, ValueError, EOFError, OSError) as error:
        raise BadInput(f"got {tarball}, no iconify package ({error}); remove it: it is downloaded again") from error
    return {
        "icons": {name: icon["body"] for name, icon in icons["icons"].items()},
        "aliases": {name: alias["parent"] for name, alias in icons.get("aliases", {}).items()},
        "categories": metadata.get("categories", {}),
        "size": icons.get("width", 16),
        "version": package["version"],
        "licence": info["license"]["spdx"],
    }


def _member_json(tar: tarfile.TarFile, name: str) -> dict:
    member = tar.extractfile(name)
    if member is None:
        raise KeyError(f"{name} is no file")
    return json.load(member)


def picture_from_svg(body: str, size: int, pixels: int) -> np.ndarray:
    """Draw an SVG body of a `size` x `size` box on white: uint8 [pixels, pixels, 3]."""
    import resvg_py

    spaces = 'xmlns="http://www.w3.org/2000/svg" xmlns:xlink="http://www.w3.org/1999/xlink"'
    text = f'<svg {spaces} viewBox="0 0 {size} {size}">{body}</svg>'
    png = resvg_py.svg_to_bytes(svg_string=text, width=pixels, height=pixels)
    drawn = Image.open(io.BytesIO(bytes(png))).convert("RGBA")
    page = Image.new("RGBA", drawn.size, (255, 255, 255, 255))
    page.alpha_composite(drawn)
    return np.asarray(page.convert("RGB").resize((pixels, pixels)))


def build_pictures(folder: Path, out: Path, recipe: EmojiRecipe) -> int:
    """Write `out`/pictures.safetensors (uint8 [N, 3, S, S]), `out`/more.safetensors and `out`/captions.json; return N.

    captions.json: {"concepts", "styles", "packages", "rows": [[concept, style], ...]}, one row a picture.
    more.safetensors: "training" and "held_out", pictures of other things in the same styles: the autoencoder learns
    from the first too, and is measured on the second.
    """
    packages = {style: read_package(next(iter(folder.glob(tarball_pattern(style))))) for style in PACKAGES}
    concepts = concepts_from_packages(packages)
    pictures, rows = [], []
    for concept in track(concepts, "drawing pictures"):
        for style, package in packages.items():
            pictures.append(_drawn(package, concept, recipe))
            rows.append([concept.replace("-", " "), style])
    more: dict[str, list[np.ndarray]] = {"training": [], "held_out": []}
    for name in track(others_in_packages(packages, concepts), "drawing more pictures"):
        more["held_out" if is_held_out(name) else "training"] += [
            _drawn(package, name, recipe) for package in packages.values() if name in package["icons"]
        ]
    out.mkdir(parents=True, exist_ok=True)
    save_file({name: np.stack(parts) for name, parts in more.items()}, out / MORE_FILE)
    save_file({"pictures": np.stack(pictures)}, out / "pictures.safetensors")
    about = {style: {"version": p["version"], "licence": p["licence"]} for style, p in packages.items()}
    names = [c.replace("-", " ") for c in concepts]
    card = {"concepts": names, "styles": list(PACKAGES), "packages": about, "rows": rows}
    (out / "captions.json").write_text(json.dumps(card, indent=1))
    return len(rows)


def _drawn(package: dict, name: str, recipe: EmojiRecipe) -> np.ndarray:
    """Draw an icon with its margin: uint8 [3, S, S]."""
    body = package["icons"].get(name) or package["icons"][package["aliases"][name]]
    pad = recipe.canvas_size // 16
    drawn = picture_from_svg(body, package["size"], recipe.canvas_size - 2 * pad)
    return np.ascontiguousarray(np.pad(drawn, ((pad, pad), (pad, pad), (0, 0)), constant_values=255).transpose(2, 0, 1))


def read_training_pictures(work: Path) -> torch.Tensor:
    """Return every picture that the autoencoder learns from: uint8 [N, 3, S, S]."""
    return torch.cat([load_file(work / "pictures.safetensors")["pictures"], load_file(work / MORE_FILE)["training"]])


def read_held_out_pictures(work: Path) -> torch.Tensor:
    """Return the pictures that nothing was trained on: uint8 [N, 3, S, S]."""
    return load_file(work / MORE_FILE)["held_out"]
