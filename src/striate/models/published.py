"""Weights that others published: torchvision's, trained on ImageNet, for the networks that it has too.

Looked up beside the data (`STRIATE_DATA/weights`), in PyTorch's own cache and in ours; fetched only where the
caller says so. Their sums are part of their names, and are checked before a file is read.
"""

import os
import sys
from pathlib import Path

from striate.errors import BadData, BadWeights
from striate.fetching import File, cache_root, check, data_root, fetch

IMAGENET = {
    "alexnet-owt": "AlexNet_Weights",
    "googlenet-bn": "GoogLeNet_Weights",
    "vgg11": "VGG11_Weights",
    "vgg13": "VGG13_Weights",
    "vgg16": "VGG16_Weights",
    "vgg19": "VGG19_Weights",
    "vgg11-bn": "VGG11_BN_Weights",
    "vgg13-bn": "VGG13_BN_Weights",
    "vgg16-bn": "VGG16_BN_Weights",
    "vgg19-bn": "VGG19_BN_Weights",
    "resnet18": "ResNet18_Weights",
    "resnet34": "ResNet34_Weights",
    "resnet50": "ResNet50_Weights",
    "resnet101": "ResNet101_Weights",
    "resnet152": "ResNet152_Weights",
}
"""Name of a network -> torchvision's name for its weights, of which the first edition is taken."""

LICENCE = "torchvision, BSD-3-Clause; learned from ImageNet, whose pictures are for research"

MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
"""Per channel, what ImageNet's pictures are normalised by."""

Colours = tuple[float, float, float]

SIZE = 224
"""Height and width of the pictures they were learned from."""


def published(name: str) -> File:
    """The file of a network's ImageNet weights; raises `BadWeights` for networks that have none."""
    if name not in IMAGENET:
        raise BadWeights(
            f"weights imagenet: none are published for {name}; there are for {', '.join(IMAGENET)}. "
            "Or name a file: --weights FILE (.safetensors, .pt)."
        )
    from torchvision.models import get_weight

    weight = get_weight(f"{IMAGENET[name]}.IMAGENET1K_V1")
    size = weight.meta["_file_size"] * 1024**2  # rounded to a thousandth of a MiB
    start = weight.url.rsplit("-", 1)[1].removesuffix(".pth")
    return File(weight.url, int(size) + 2048, f"sha256:{start}")


def normalisation(name: str) -> tuple[Colours, Colours]:
    """(mean, std) per channel, of pixels in 0..1, of the pictures that a network's weights learned from.

    GoogLeNet's were brought over from TensorFlow; torchvision's model undoes ImageNet's normalisation first.
    """
    return ((0.5, 0.5, 0.5), (0.5, 0.5, 0.5)) if name == "googlenet-bn" else (MEAN, STD)


def imagenet(name: str, download: bool = False) -> Path:
    """Where a network's ImageNet weights are on this machine.

    Raises:
        BadWeights: they are not here and `download` is not set (the message says what would help), there
            are none for this network, or the file is damaged.
    """
    file = published(name)
    root, ours = data_root(), cache_root() / "weights"
    torch_home = Path(os.environ.get("TORCH_HOME") or Path.home() / ".cache" / "torch")
    places = [torch_home / "hub" / "checkpoints", ours]
    if root is not None:
        places = [root / "weights", *places]
    here = next((place / file.name for place in places if (place / file.name).is_file()), None)
    size = f"{file.size / 1e6:.0f} MB, {LICENCE}"
    if here is None and not download:
        raise BadWeights(
            f"weights imagenet of {name} ({size}): {file.name} is in none of "
            f"{', '.join(map(str, places))}; --download fetches it, or put it there, or --weights FILE."
        )
    if here is None:
        print(f"{file.name} for {name}: fetching {size}; sum {file.sum}…", file=sys.stderr)
        try:
            return fetch(file, ours)
        except BadData as why:
            raise BadWeights(str(why)) from why
    try:
        check(file, here)
    except BadData as why:
        raise BadWeights(
            f"{here}: is not what torchvision published ({file.sum}): delete it, then --download fetches it"
        ) from why
    return here
