"""Worker: PyTorch's loaders. Runs in an environment with torch, NumPy and Pillow.

    PYTHON -m bench.torch_loader FOLDER BATCH_SIZE

FOLDER holds images.npy (uint8 [N,H,W,C]), labels.npy ([N]), and the encoded images end to end in encoded.npy with their
N+1 bounds in bounds.npy. The first line written names the contenders; each line read, "NAME SEED COUNT", is answered
with the seconds that COUNT examples at random positions took.
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
    """Decodes an image each time it is asked for."""

    def __init__(self, data: np.ndarray, bounds: np.ndarray, labels: np.ndarray):
        self.data, self.bounds, self.labels = data, bounds, labels

    def __len__(self) -> int:
        return len(self.labels)

    def __getitem__(self, index: int) -> tuple[Any, int]:
        image = Image.open(io.BytesIO(self.data[self.bounds[index] : self.bounds[index + 1]].tobytes()))
        return torch.from_numpy(np.array(image)), int(self.labels[index])


class Positions(Sampler):
    """What the turn asks for, so that a loader and its worker processes last from turn to turn."""

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
