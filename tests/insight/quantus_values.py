"""Writes quantus_values.npz: eleven measures of explanations by Quantus, of a small network's gradients.

PYTHON tests/insight/quantus_values.py    # of an environment with torch 2.13 and quantus 0.6.0
"""

from pathlib import Path

import numpy as np
import quantus
import torch
from quantus.functions.complexity_func import discrete_entropy
from quantus.functions.perturb_func import noisy_linear_imputation

SHAPE, CLASSES = (12, 10), 4


def main() -> None:
    torch.manual_seed(0)
    random = np.random.default_rng(0)
    convolution, dense = torch.nn.Conv2d(1, 4, 3, padding=1), torch.nn.Linear(4 * SHAPE[0] * SHAPE[1], CLASSES)
    model = torch.nn.Sequential(convolution, torch.nn.ReLU(), torch.nn.Flatten(), dense).eval()
    images = random.normal(size=(6, 1, *SHAPE)).astype(np.float32)
    x = torch.from_numpy(images).requires_grad_()
    targets = model(x).argmax(1)
    model(x)[range(6), targets].sum().backward()
    maps = x.grad.numpy() * images
    masks = np.zeros((6, 1, *SHAPE), int)
    for i in range(6):
        masks[i, 0, i : i + 5, i % 4 : i % 4 + 4] = 1
    plain = {"abs": False, "normalise": False, "disable_warnings": True, "display_progressbar": False}

    def scores(metric, magnitudes=False, sign=1):
        own = np.abs(maps) if magnitudes else sign * maps
        return np.asarray(
            metric(
                model=model, x_batch=images, y_batch=targets.numpy(), a_batch=own, s_batch=masks, softmax=False,
                device="cpu",
            )
        )  # fmt: skip

    found = {
        "pointing_game": scores(quantus.PointingGame(**plain)),
        "relevance_mass": scores(quantus.RelevanceMassAccuracy(**plain), magnitudes=True),
        "relevance_rank": scores(quantus.RelevanceRankAccuracy(**plain)),
        "top_intersection": scores(quantus.TopKIntersection(k=20, **plain)),
        "mask_auc": scores(quantus.AUC(**plain)),
        "sparseness": scores(quantus.Sparseness(**plain), magnitudes=True),
        "complexity": scores(quantus.Complexity(**plain), magnitudes=True),
        "pixel_flipping": scores(quantus.PixelFlipping(features_in_step=4, perturb_baseline=0.0, **plain)).T,
        "faithfulness_estimate": scores(
            quantus.FaithfulnessEstimate(features_in_step=4, perturb_baseline=0.0, **plain)
        ),
        "entropy": np.array([discrete_entropy(one, one) for one in maps]),
    }
    road = quantus.ROAD(percentages=[2.5, 5, 7.5, 20], noise=0.0, perturb_func=noisy_linear_imputation, **plain)
    for name, sign in (("road", 1), ("road_least", -1)):
        scores(road, sign=sign)
        found[name] = np.array([road.evaluation_scores[p] for p in (2.5, 5, 7.5, 20)])
    np.savez_compressed(
        Path(__file__).with_suffix(".npz"), images=images, targets=targets.numpy(), maps=maps, masks=masks,
        kernel=convolution.weight.detach().numpy(), bias=convolution.bias.detach().numpy(),
        dense_kernel=dense.weight.detach().numpy(), dense_bias=dense.bias.detach().numpy(),
        **{f"quantus/{name}": values for name, values in found.items()},
    )  # fmt: skip
    for name, values in found.items():
        print(name, values.shape, values.ravel()[:4])


main()
