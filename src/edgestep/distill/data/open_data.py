"""A folder -> its rows, by what it holds: shards of our own, a webdataset's .tar files, or parquet."""

from pathlib import Path

from edgestep.artifact import BadInput
from edgestep.distill.data.about import ABOUT
from edgestep.distill.data.latent_data import LatentData, Tokenize
from edgestep.distill.data.shard_data import ShardData


def open_data(folder: Path, tokenize: Tokenize | None = None) -> LatentData:
    """Open `folder`; `tokenize` turns the texts of .tar and parquet files into ids (shards hold theirs).

    Raises BadInput where the folder holds none of the three, more than one of them, or something broken.
    """
    kinds = {
        f"shards ({ABOUT})": sorted(folder.glob(ABOUT)),
        "webdataset (*.tar)": sorted(folder.glob("*.tar")),
        "parquet (*.parquet)": sorted(folder.glob("*.parquet")),
    }
    there = {kind: paths for kind, paths in kinds.items() if paths}
    if len(there) != 1:
        got = " and ".join(there) or "none of them"
        raise BadInput(
            f"got {got} in {folder}; expected one of {', '.join(kinds)}; "
            "make one with 'edgestep distill precompute', or keep each kind in a folder of its own"
        )
    ((kind, paths),) = there.items()
    if kind.startswith("shards"):
        return ShardData(folder)
    if tokenize is None:
        raise BadInput(f"got {kind} in {folder} and no tokenizer; expected one for its texts; give the teacher's")
    if kind.startswith("webdataset"):
        from edgestep.distill.data.webdataset import TarData

        return TarData(paths, tokenize)
    from edgestep.distill.data.parquet import ParquetData

    return ParquetData(paths, tokenize)
