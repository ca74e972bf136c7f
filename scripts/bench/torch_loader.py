"""Worker: PyTorch's loaders. Runs in an environment with torch, NumPy and Pillow.

    PYTHON -m bench.torch_loader FOLDER BATCH_SIZE

FOLDER holds images.npy (uint8 (n, h, w, c)), labels.npy ((n,)), and the concatenated encoded images in encoded.npy with
their n + 1 bounds in bounds.npy. The first output line names the contenders; each input line "NAME SEED COUNT" is
answered with the seconds for COUNT examples at random positions.
"""

import io
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch.utils.data import DataLoader, Dataset, Sampler, TensorDataset

from bench.worker import serve_lines

try:
    import PIL
    from PIL import Image
except ImportError:
    PIL = None  # type: ignore[assignment]


class Encoded(Dataset):
    """Decodes an image at each access."""

    def __init__(self, data: np.ndarray, bounds: np.ndarray, labels: np.ndarray):
        self.data, self.bounds, self.labels = data, bounds, labels

    def __len__(self) -> int:
        return len(self.labels)

    def __getitem__(self, index: int) -> tuple[Any, int]:
        image = Image.open(io.BytesIO(self.data[self.bounds[index] : self.bounds[index + 1]].tobytes()))
        return torch.from_numpy(np.array(image)), int(self.labels[index])


class Positions(Sampler):
    """The positions of the present turn, so that a loader and its worker processes can be reused for all turns."""

    def __init__(self) -> None:
        self.now: list[int] = []

    def __iter__(self) -> Any:
        return iter(self.now)

    def __len__(self) -> int:
        return len(self.now)


def main(folder: Path, batch_size: int) -> None:
    images, labels, encoded, bounds = (
        np.load(folder / f"{name}.npy") for name in ("images", "labels", "encoded", "bounds")
    )
    datasets: dict[str, Any] = {"tensor": TensorDataset(torch.from_numpy(images), torch.from_numpy(labels))}
    if PIL:
        datasets["encoded"] = Encoded(encoded, bounds, labels)
    positions = Positions()
    loaders = {
        f"torch {name}, {workers} workers": DataLoader(
            dataset, batch_size, sampler=positions, num_workers=workers, persistent_workers=workers > 0
        )
        for name, dataset in datasets.items()
        for workers in (0, 2)
    }
    versions = {"torch": torch.__version__, "numpy": np.__version__, "pillow": PIL and PIL.__version__}

    def turn(line: str) -> dict[str, Any]:
        name, seed, count = line.rsplit(" ", 2)
        positions.now = np.random.default_rng(int(seed)).integers(0, len(labels), int(count)).tolist()
        start = time.perf_counter()
        seen = sum(len(batch_labels) for _, batch_labels in loaders[name])
        seconds = time.perf_counter() - start
        if seen != int(count):
            raise RuntimeError(f"{name}: {seen} examples instead of {count}")
        return {"seconds": seconds}

    serve_lines(lambda: {"contenders": list(loaders), "versions": versions}, turn)


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]))
