"""Worker: PyTorch on a CPU, written as its users write it. Runs in an environment with torch and numpy, without cnn_jax
and JAX. Variants: eager and compile, each contiguous (NCHW) and channels_last (NHWC in memory)."""

import os

import torch
import torch.nn.functional as F
from torch import nn

from bench import worker, works
from bench.worker import Job, Runner
from bench.works import Work


def stack(work: Work) -> nn.Sequential:
    """Works L, M and C."""
    layers: list[nn.Module] = []
    height, width, channels = work.shape
    for filters in work.filters:
        layers += [nn.Conv2d(channels, filters, work.kernel, padding=work.kernel // 2), nn.ReLU(), nn.MaxPool2d(2)]
        height, width, channels = height // 2, width // 2, filters
    layers += [nn.Flatten(), nn.Linear(height * width * channels, work.hidden), nn.ReLU()]
    layers.append(nn.Linear(work.hidden, works.CLASSES))
    return nn.Sequential(*layers)


class Block(nn.Module):
    """Two convolutions with an option A shortcut: strided and zero-padded in channels."""

    def __init__(self, channels: int, filters: int, stride: int):
        super().__init__()
        self.conv1 = nn.Conv2d(channels, filters, 3, stride, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(filters)
        self.conv2 = nn.Conv2d(filters, filters, 3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(filters)
        self.stride, self.missing = stride, filters - channels

    def forward(self, x):
        y = F.relu(self.bn1(self.conv1(x)))
        y = self.bn2(self.conv2(y))
        if self.stride > 1:
            x = x[:, :, :: self.stride, :: self.stride]
            x = F.pad(x, (0, 0, 0, 0, self.missing // 2, self.missing - self.missing // 2))
        return F.relu(x + y)


class ResNet20(nn.Module):
    """he2016deep, 4.2, with n = 3. Work R."""

    def __init__(self):
        super().__init__()
        self.conv1 = nn.Conv2d(3, 16, 3, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(16)
        blocks, channels = [], 16
        for stage in range(3):
            for block in range(3):
                filters = 16 * 2**stage
                blocks.append(Block(channels, filters, stride=2 if stage and not block else 1))
                channels = filters
        self.blocks = nn.Sequential(*blocks)
        self.linear = nn.Linear(64, works.CLASSES)

    def forward(self, x):
        x = self.blocks(F.relu(self.bn1(self.conv1(x))))
        return self.linear(x.mean((2, 3)))


def use_all_cores() -> None:
    torch.set_num_threads(len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1)


def facts() -> dict[str, str | int]:
    return {"torch": torch.__version__, "threads": torch.get_num_threads(), "mkl": torch.backends.mkl.is_available()}


def build(job: Job) -> Runner:
    use_all_cores()
    mode, _, layout = job.variant.partition("-")
    memory_format = torch.channels_last if layout == "channels_last" else torch.contiguous_format
    trials = []  # trained one after another
    for seed in range(job.trials):
        torch.manual_seed(seed)
        model = (ResNet20() if job.work.zoo else stack(job.work)).to(memory_format=memory_format)
        optimizer = torch.optim.SGD(model.parameters(), lr=works.LEARNING_RATE, momentum=works.MOMENTUM)
        trials.append((torch.compile(model) if mode == "compile" else model, optimizer))
    parameters = sum(parameter.numel() for parameter in model.parameters())
    images, labels = works.normalised_batches(job.work, job.batch_size)
    batches = [
        (torch.from_numpy(x).permute(0, 3, 1, 2).contiguous(memory_format=memory_format), torch.from_numpy(y).long())
        for x, y in zip(images, labels, strict=True)
    ]
    done = 0

    def run(steps: int) -> tuple[int, float]:
        nonlocal done
        for _ in range(steps):
            x, y = batches[done % len(batches)]
            for forward, optimizer in trials:
                optimizer.zero_grad()
                loss = F.cross_entropy(forward(x), y)
                loss.backward()
                optimizer.step()
            done += 1
        return steps, loss.item()

    return Runner(parameters, run, facts)


if __name__ == "__main__":
    worker.main(build)
