"""The two-stage detector: Faster R-CNN (Ren et al. 2015), with masks Mask R-CNN (He et al. 2017).

The proposals, the sampling and the second stage are torchvision's. What is ours is the pyramid on any
backbone, sizes that fit pictures of a plain machine, and everything around it.
"""

from collections.abc import Sequence
from contextlib import nullcontext
from typing import Any

import torch
from torch import Tensor, nn
from torchvision.models.detection.anchor_utils import AnchorGenerator
from torchvision.models.detection.faster_rcnn import FastRCNNPredictor, TwoMLPHead
from torchvision.models.detection.image_list import ImageList
from torchvision.models.detection.mask_rcnn import MaskRCNNHeads, MaskRCNNPredictor
from torchvision.models.detection.roi_heads import RoIHeads
from torchvision.models.detection.rpn import RegionProposalNetwork, RPNHead
from torchvision.ops import MultiScaleRoIAlign

from striate.errors import BadData
from striate.task import Target
from striate.tasks.detect.data import things
from striate.tasks.detect.pyramid import Pyramid

HIDDEN = 512
"""Hidden units of the second stage."""

COARSEST = 64
"""Pixels between the cells of the last map: its anchors are of 128 and 192 pixels."""

ANCHORS = (2, 3)
"""Sides of the anchors, in cells of their map."""

RATIOS = (0.5, 1.0, 2.0)
"""Their height over their width (Ren et al. 2015, section 3.1)."""

LEAST = 0.005
"""The score below which an answer is not looked at."""


class Anchors(AnchorGenerator):
    """torchvision's boxes around every cell, where the cells are.

    It takes a window's side over their number for the distance between them, which a window of 300 pixels and
    38 cells, 8 pixels apart, makes 7.
    """

    def __init__(self, sizes: Any, ratios: Any, strides: Sequence[int]) -> None:
        super().__init__(sizes, ratios)
        self.strides = strides

    def forward(self, image_list: ImageList, feature_maps: list[Tensor]) -> list[Tensor]:
        """For every picture the boxes of all its maps, finest first, (n, 4) in pixels of the window."""
        first = feature_maps[0]
        self.set_cell_anchors(first.dtype, first.device)
        strides: Any = [[stride] * 2 for stride in self.strides]
        boxes = torch.cat(self.grid_anchors([list(found.shape[-2:]) for found in feature_maps], strides))
        return [boxes] * len(image_list.image_sizes)


class Faster(nn.Module):
    """(B, C, H, W) -> for every picture {boxes (n, 4) x1, y1, x2, y2 in pixels of the window, labels (n,),
    scores (n,)}, the surest first, and with `masks` the share of each thing in 28×28 parts of its box,
    masks (n, 28, 28). In training, with the truth: the terms of the loss by name.

    A region that is neither right nor wrong (a crowd) counts as ground here: the sampling has no third kind.
    """

    def __init__(self, backbone: Any, classes: int, masks: bool = False) -> None:
        super().__init__()
        self.features = Pyramid(backbone, coarsest=COARSEST)
        width, names = self.features.width, [str(level) for level in range(len(self.features.strides))]
        sizes = tuple(tuple(stride * side for side in ANCHORS) for stride in self.features.strides)
        self.propose = RegionProposalNetwork(
            Anchors(sizes, (RATIOS,) * len(sizes), self.features.strides),
            RPNHead(width, len(ANCHORS) * len(RATIOS)),
            fg_iou_thresh=0.7,
            bg_iou_thresh=0.3,
            batch_size_per_image=256,
            positive_fraction=0.5,
            pre_nms_top_n={"training": 1000, "testing": 500},
            post_nms_top_n={"training": 500, "testing": 200},
            nms_thresh=0.7,
        )
        self.judge = RoIHeads(
            MultiScaleRoIAlign(names, output_size=7, sampling_ratio=2),
            TwoMLPHead(width * 49, HIDDEN),
            FastRCNNPredictor(HIDDEN, classes + 1),
            fg_iou_thresh=0.5,
            bg_iou_thresh=0.5,
            batch_size_per_image=64,
            positive_fraction=0.25,
            bbox_reg_weights=None,
            score_thresh=LEAST,
            nms_thresh=0.5,
            detections_per_img=100,
            mask_roi_pool=MultiScaleRoIAlign(names, output_size=14, sampling_ratio=2) if masks else None,
            mask_head=MaskRCNNHeads(width, (width, width), 1) if masks else None,
            mask_predictor=MaskRCNNPredictor(width, width, classes + 1) if masks else None,
        )
        self.masks = masks

    @property
    def plain(self) -> nn.Module:
        """The part whose sizes depend on the window alone: what tables show and what is folded."""
        return self.features

    def forward(self, x: Tensor, target: Target | None = None) -> Any:
        maps = {str(level): found for level, found in enumerate(self.features(x))}
        sizes = [(x.shape[2], x.shape[3])] * len(x)
        truth = None if target is None else self._truth(target, sizes[0])
        # Half precision knows no pixel between 256 and 258: where the boxes are is computed in float32.
        half = x.device.type in ("cpu", "cuda") and torch.is_autocast_enabled(x.device.type)
        with torch.autocast(x.device.type, enabled=False) if half else nullcontext():
            maps = {level: found.float() for level, found in maps.items()}
            proposals, first = self.propose(ImageList(x, sizes), maps, truth)
            found, second = self.judge(maps, proposals, sizes, truth)
        if target is not None:
            return {name.removeprefix("loss_"): term for name, term in (first | second).items()}
        for one in found:
            one["labels"] = one["labels"] - 1
            if self.masks:
                one["masks"] = one["masks"][:, 0]
        return found

    def _truth(self, target: Target, size: tuple[int, int]) -> list[dict[str, Tensor]]:
        """As torchvision's parts want it: class 0 is the ground."""
        found = []
        for i, real in enumerate(things(target)):
            one = {"boxes": target["boxes"][i][real], "labels": target["labels"][i][real] + 1}
            if self.masks:
                if "outlines" not in target:
                    raise BadData("the head for masks needs outlines, and these pictures have boxes alone.")
                drawn = target["outlines"][i].masks(real.nonzero()[:, 0].tolist(), size)
                one["masks"] = torch.from_numpy(drawn).to(real.device)
            found.append(one)
        return found
