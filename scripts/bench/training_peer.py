"""Worker: whole trainings by the published implementation of jordan2024airbench, on one NVIDIA GPU. Runs in an
environment with torch and torchvision, without cnn_jax.

    PYTHON -m bench.training_peer FOLDER airbench94_muon.py

FOLDER holds train.npz and test.npz, written by training.py, from which the peer reads its images instead of downloading
them. Answers each line `train SEED` with the seconds, as the peer measures them, and the test accuracy.
"""

import importlib.util
import os
import sys
import time
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import torch

from bench.worker import serve_lines


def write_tensors(folder: Path) -> None:
    """The files from which the peer loads its data, in a folder that it calls cifar10."""
    (folder / "cifar10").mkdir()
    for name in ("train", "test"):
        with np.load(folder / f"{name}.npz") as file:
            arrays = {"images": torch.from_numpy(file["images"]), "labels": torch.from_numpy(file["labels"]).long()}
            torch.save(arrays | {"classes": [str(name) for name in file["classes"]]}, folder / "cifar10" / f"{name}.pt")


def main(folder: Path, file: str) -> None:
    peer: Any
    model: torch.nn.Module
    measured: dict[str, float] = {}

    def ready() -> dict[str, Any]:
        nonlocal peer, model
        write_tensors(folder)
        os.chdir(folder)
        spec = importlib.util.spec_from_file_location("peer", file)
        assert spec is not None
        assert spec.loader is not None
        peer = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(peer)
        peer.print_training_details = lambda variables, is_final_entry: measured.update(
            seconds=variables["time_seconds"]
        )
        started = time.perf_counter()
        model = peer.CifarNet().cuda().to(memory_format=torch.channels_last)
        model.compile(mode="max-autotune")  # as its main program does
        peer.main("warmup", model)
        versions = {"torch": torch.__version__, "torchvision": version("torchvision")}
        device = {"backend": "gpu", "kind": torch.cuda.get_device_name(), "cpu": ""}
        return {"compile_seconds": time.perf_counter() - started, "device": device, "versions": versions}

    def reply(line: str) -> dict[str, Any]:
        seed = int(line.split()[1])
        torch.manual_seed(seed)
        accuracy = peer.main(seed, model)
        return {"seconds": measured["seconds"], "accuracy": accuracy}

    serve_lines(ready, reply)


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2])
