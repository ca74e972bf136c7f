"""Worker: PyTorch's loaders. Runs in an environment with torch, NumPy and Pillow.

    PYTHON -m bench.torch_loader FOLDER BATCH_SIZE [SIDE MIN_AREA]

FOLDER holds labels.npy ((n,)), the concatenated encoded images in encoded.npy with their n + 1 bounds in bounds.npy,
and optionally images.npy (uint8 (n, h, w, c)). With SIDE and MIN_AREA the loader takes random resized crops of the
encoded images and mirrors half of them. The first output line names the contenders; each input line "NAME SEED COUNT"
is answered with the seconds for COUNT examples at random positions.
"""

import io
import math
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
        return torch.from_numpy(np.array(self.transformed(image))), int(self.labels[index])

    def transformed(self, image: Any) -> Any:
        return image


class Cropped(Encoded):
    """What torchvision's RandomResizedCrop and RandomHorizontalFlip make of an image, with Pillow: torchvision itself
    need not be installed."""

    def __init__(self, side: int, min_area: float, *arrays: np.ndarray):
        super().__init__(*arrays)
        self.side, self.min_area = side, min_area

    def transformed(self, image: Any) -> Any:
        image = image.convert("RGB")
        window = image.crop(self.window(*image.size)).resize((self.side, self.side), Image.Resampling.BILINEAR)
        return window.transpose(Image.Transpose.FLIP_LEFT_RIGHT) if torch.rand(1) < 0.5 else window

    def window(self, width: int, height: int) -> tuple[int, int, int, int]:
        """Left, top, right and bottom; the whole image if no window fits in ten attempts."""
        for _ in range(10):
            area = width * height * torch.empty(1).uniform_(self.min_area, 1).item()
            ratio = torch.exp(torch.empty(1).uniform_(math.log(3 / 4), math.log(4 / 3))).item()
            columns, rows = round(math.sqrt(area * ratio)), round(math.sqrt(area / ratio))
            if 0 < columns <= width and 0 < rows <= height:
                top = int(torch.randint(0, height - rows + 1, (1,)).item())
                left = int(torch.randint(0, width - columns + 1, (1,)).item())
                return left, top, left + columns, top + rows
        return 0, 0, width, height


class Positions(Sampler):
    """The positions of the present turn, so that a loader and its worker processes can be reused for all turns."""

    def __init__(self) -> None:
        self.now: list[int] = []

    def __iter__(self) -> Any:
        return iter(self.now)

    def __len__(self) -> int:
        return len(self.now)


def main(folder: Path, batch_size: int, *crop: str) -> None:
    labels, encoded, bounds = (np.load(folder / f"{name}.npy") for name in ("labels", "encoded", "bounds"))
    datasets: dict[str, Any] = {}
    if (path := folder / "images.npy").exists():
        datasets["tensor"] = TensorDataset(torch.from_numpy(np.load(path)), torch.from_numpy(labels))
    if PIL:
        arrays = encoded, bounds, labels
        datasets["encoded"] = Cropped(int(crop[0]), float(crop[1]), *arrays) if crop else Encoded(*arrays)
    positions = Positions()
    loaders = {
        f"torch {name}, {workers} workers": DataLoader(
            dataset, batch_size, sampler=positions, num_workers=workers, persistent_workers=workers > 0
        )
        for name, dataset in datasets.items()
        for workers in (0, 1, 2, 4)
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
    main(Path(sys.argv[1]), int(sys.argv[2]), *sys.argv[3:])
