"""Worker: PyTorch, written as its users write it. Runs in an environment with torch and numpy, without cnn_jax and JAX.
Variants: eager, compile and, on a GPU, graph (the whole step as one CUDA graph), each contiguous (NCHW) and
channels_last (NHWC in memory)."""

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


def normed(work: Work) -> nn.Sequential:
    """Works D and X."""
    layers: list[nn.Module] = []
    channels = work.shape[2]
    for size, filters, stride, groups in work.normed:
        layers.append(nn.Conv2d(channels, filters, size, stride, size // 2, groups=groups, bias=False))
        layers += [nn.BatchNorm2d(filters), nn.ReLU()]
        channels = filters
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(channels, works.CLASSES))


def conv(channels: int, filters: int, size: int, stride: int = 1) -> nn.Conv2d:
    return nn.Conv2d(channels, filters, size, stride, padding=size // 2, bias=False)


class Block(nn.Module):
    """Two convolutions; where the shape changes, the shortcut is option A, strided and zero-padded in channels, or with
    `project` option B, a 1x1 convolution with a batch norm."""

    def __init__(self, channels: int, filters: int, stride: int, project: bool):
        super().__init__()
        self.conv1, self.bn1 = conv(channels, filters, 3, stride), nn.BatchNorm2d(filters)
        self.conv2, self.bn2 = conv(filters, filters, 3), nn.BatchNorm2d(filters)
        self.stride, self.missing = stride, filters - channels
        self.projection = None
        if project and stride > 1:
            self.projection = nn.Sequential(conv(channels, filters, 1, stride), nn.BatchNorm2d(filters))

    def forward(self, x):
        y = F.relu(self.bn1(self.conv1(x)))
        y = self.bn2(self.conv2(y))
        if self.projection is not None:
            x = self.projection(x)
        elif self.stride > 1:
            x = x[:, :, :: self.stride, :: self.stride]
            x = F.pad(x, (0, 0, 0, 0, self.missing // 2, self.missing - self.missing // 2))
        return F.relu(x + y)


class ResNet(nn.Module):
    """he2016deep, 4.2, with n = 3 (work R); wider and with option B for CIFAR (work R18)."""

    def __init__(self, widths: tuple[int, ...], blocks: int, project: bool):
        super().__init__()
        channels = widths[0]
        self.conv1, self.bn1 = conv(3, channels, 3), nn.BatchNorm2d(channels)
        stages = []
        for stage, width in enumerate(widths):
            for block in range(blocks):
                stages.append(Block(channels, width, 2 if stage and not block else 1, project))
                channels = width
        self.blocks = nn.Sequential(*stages)
        self.linear = nn.Linear(channels, works.CLASSES)

    def forward(self, x):
        x = self.blocks(F.relu(self.bn1(self.conv1(x))))
        return self.linear(x.mean((2, 3)))


class WideBlock(nn.Module):
    """Batch norm and ReLU before each of two convolutions; the first of a stage projects."""

    def __init__(self, channels: int, filters: int, stride: int, first: bool):
        super().__init__()
        self.bn1, self.conv1 = nn.BatchNorm2d(channels), conv(channels, filters, 3, stride)
        self.bn2, self.conv2 = nn.BatchNorm2d(filters), conv(filters, filters, 3)
        self.projection = conv(channels, filters, 1, stride) if first else None

    def forward(self, x):
        y = F.relu(self.bn1(x))
        shortcut = x if self.projection is None else self.projection(y)
        return shortcut + self.conv2(F.relu(self.bn2(self.conv1(y))))


class WideResNet(nn.Module):
    """zagoruyko2016wide, table 1, with depth 16 and factor 4 (work W)."""

    def __init__(self):
        super().__init__()
        self.conv1 = conv(3, 16, 3)
        stages, channels = [], 16
        for stage, width in enumerate((64, 128, 256)):
            for block in range(2):
                stages.append(WideBlock(channels, width, 2 if stage and not block else 1, not block))
                channels = width
        self.blocks = nn.Sequential(*stages)
        self.norm, self.linear = nn.BatchNorm2d(channels), nn.Linear(channels, works.CLASSES)

    def forward(self, x):
        return self.linear(F.relu(self.norm(self.blocks(self.conv1(x)))).mean((2, 3)))


def network_of(work: Work) -> nn.Module:
    zoo = {
        "resnet20": lambda: ResNet((16, 32, 64), 3, False),
        "cifar_resnet18": lambda: ResNet((64, 128, 256, 512), 2, True),
        "wrn16_4": WideResNet,
    }
    if work.zoo:
        return zoo[work.zoo]()
    return normed(work) if work.normed else stack(work)


def use_all_cores() -> None:
    torch.set_num_threads(len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1)


def prepare(device: str, precision: str) -> torch.device:
    """The device, with all cores of a CPU, or on a GPU with or without TF32."""
    if device == "cpu":
        use_all_cores()
        return torch.device("cpu")
    torch.backends.cudnn.benchmark = True
    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = precision == "tf32"
    return torch.device("cuda")


def wait(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize()


def facts() -> dict[str, str | int]:
    return {"torch": torch.__version__, "threads": torch.get_num_threads(), "mkl": torch.backends.mkl.is_available()}


def build(job: Job) -> Runner:
    device = prepare(job.device, job.precision)
    mode, _, layout = job.variant.partition("-")
    memory_format = torch.channels_last if layout == "channels_last" else torch.contiguous_format
    images, labels = works.normalised_batches(job.work, job.batch_size)
    batches = [
        (
            torch.from_numpy(x).permute(0, 3, 1, 2).contiguous(memory_format=memory_format).to(device),
            torch.from_numpy(y).long().to(device),
        )
        for x, y in zip(images, labels, strict=True)
    ]
    trials = []  # trained one after another
    for seed in range(job.trials):
        torch.manual_seed(seed)
        model = network_of(job.work).to(device, memory_format=memory_format)
        trials.append(training_step(job, mode, model, batches[0]))
    parameters = sum(parameter.numel() for parameter in model.parameters())
    done = 0

    def run(steps: int) -> tuple[int, float]:
        nonlocal done
        for _ in range(steps):
            batch = batches[done % len(batches)]
            for step in trials:
                loss = step(*batch)
            done += 1
        wait(device)
        return steps, loss.item()

    return Runner(parameters, run, facts)


def training_step(job: Job, mode: str, model: nn.Module, batch: tuple[torch.Tensor, torch.Tensor]):
    """A function of images and labels that takes a step and returns the loss."""
    gpu = job.device == "gpu"
    more = {"fused": True} if gpu else {}  # one kernel for all parameters
    optimizer = torch.optim.SGD(model.parameters(), lr=works.LEARNING_RATE, momentum=works.MOMENTUM, **more)

    def mean_loss(x, y):
        with torch.autocast(batch[0].device.type, torch.bfloat16, enabled=job.precision == "bfloat16"):
            return F.cross_entropy(model(x), y)

    if mode == "compile":
        mean_loss = torch.compile(mean_loss, mode="reduce-overhead" if gpu else None)

    def step(x, y):
        optimizer.zero_grad()
        loss = mean_loss(x, y)
        loss.backward()
        optimizer.step()
        return loss.detach()

    return captured(step, batch) if mode == "graph" else step


def captured(step, batch: tuple[torch.Tensor, torch.Tensor]):
    """The whole step as a CUDA graph, after three steps on a stream of their own, as PyTorch's documentation asks."""
    x, y = (tensor.clone(memory_format=torch.preserve_format) for tensor in batch)
    aside = torch.cuda.Stream()
    aside.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(aside):
        for _ in range(3):
            step(x, y)
    torch.cuda.current_stream().wait_stream(aside)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        loss = step(x, y)

    def replay(images, labels):
        x.copy_(images)
        y.copy_(labels)
        graph.replay()
        return loss

    return replay


if __name__ == "__main__":
    worker.main(build)
