"""Detectors on any backbone, in one stage or two, with masks or without."""

from typing import Any

from torch import nn

from striate.models.backbone import behead
from striate.task import Facts
from striate.tasks.detect.onestage import OneStage

HEADS = ("onestage", "faster", "mask")


def build(backbone: Any, facts: Facts) -> nn.Module:
    """The backbone without its own head, and the detector that facts["head"] names."""
    behead(backbone)
    kind, classes = facts.get("head", HEADS[0]), len(facts["classes"])
    if kind == "onestage":
        return OneStage(backbone, classes)
    from striate.tasks.detect.faster import Faster  # torchvision's parts take seconds to import

    return Faster(backbone, classes, kind == "mask")
