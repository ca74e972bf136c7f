"""Run by another Python, with torchvision: a randomly initialised model's state dict and outputs, as NPZ."""

import sys
from pathlib import Path

import numpy as np
import torch
import torchvision

name, folder = sys.argv[1], Path(sys.argv[2])
torch.manual_seed(0)
model = getattr(torchvision.models, name)(weights=None)
for module in model.modules():  # statistics that are not the initial zeros and ones
    if isinstance(module, torch.nn.BatchNorm2d):
        module.running_mean.uniform_(-0.1, 0.1)
        module.running_var.uniform_(0.5, 1.5)
model.eval()
images = torch.rand(2, 3, 224, 224)
with torch.no_grad():
    outputs = model(images)
np.savez(folder / "state.npz", **{key: value.numpy() for key, value in model.state_dict().items()})
np.savez(folder / "outputs.npz", images=images.numpy(), outputs=outputs.numpy())
