"""Average precision as COCO and VOC define it, in pixels of the original pictures."""

from typing import Any

from striate.data.rle import encode, text
from striate.errors import BadData
from striate.precision import AveragePrecision
from striate.task import Facts, Target
from striate.tasks.detect.predict import SURE, Found, keep, originals


class DetectMetric:
    """One evaluation with the classes of `facts`; with masks too where its head gives them."""

    def __init__(self, facts: Facts):
        self.classes: list[str] = list(facts["classes"])
        self.boxes = AveragePrecision(self.classes, "box")
        self.masks = AveragePrecision(self.classes, "mask") if facts.get("head") == "mask" else None

    @property
    def precision(self) -> AveragePrecision:
        """What COCO counts of the finest that the head gives: masks, else boxes."""
        return self.boxes if self.masks is None else self.masks

    def update(self, output: Any, target: Target) -> None:
        """What the network said of a batch, and the truth as `targets` stores it."""
        truth, found = [], []
        for i, one in enumerate(keep(output)):
            said, true = in_original(one, target, i, self.masks is not None)
            found.append(said)
            truth.append(true)
        self.boxes.update(truth, found)
        if self.masks is not None:
            self.masks.update(truth, found)

    def merge(self, other: "DetectMetric") -> None:
        """Add another process's pictures, or another part of the set."""
        self.boxes.merge(other.boxes)
        if self.masks is not None and other.masks is not None:
            self.masks.merge(other.masks)

    def compute(self) -> dict[str, Any]:
        """COCO's figures map, map50, map75, ... of boxes, and of masks as mask_map, ...; VOC 2007's at
        overlap 0.5 over 11 points, voc07; things and pictures; per_class {name: {ap, ap50, ...}}; what the
        report draws: curves, and confusion[true][said] of what is sure enough to be shown, ground last."""
        found = self.boxes.compute()
        per_class, curves = found.pop("per_class"), found.pop("curves")
        voc = self.boxes.voc(points=11)
        figures: dict[str, Any] = {**found, "voc07": voc["map"]}
        if self.masks is not None:
            figures |= {f"mask_{k}": v for k, v in self.masks.compute().items() if k.startswith("map")}
        figures["images"] = len(self.boxes)
        figures["per_class"] = per_class
        figures["confusion"] = self.boxes.confusion(SURE, 0.5).tolist()
        figures["curves"] = curves
        return figures


def results(output: list[Found], target: Target, numbers: list[int]) -> list[dict[str, Any]]:
    """Answers as `keep` kept them -> a list as COCO's result files have it, boxes x, y, width, height in
    pixels of the original pictures; `numbers` are those of the classes."""
    found = []
    for i, one in enumerate(output):
        said, _ = in_original(one, target, i, "masks" in one)
        for place, (x1, y1, x2, y2) in enumerate(said["boxes"].tolist()):
            answer = {"image_id": int(target["image_id"][i]), "category_id": numbers[said["labels"][place]]}
            answer |= {"bbox": [x1, y1, x2 - x1, y2 - y1], "score": float(said["scores"][place])}
            if "masks" in said:
                rle = said["masks"][place]
                answer["segmentation"] = {"size": rle["size"], "counts": text(rle["counts"])}
            found.append(answer)
    return found


def in_original(
    found: dict[str, Any], target: Target, i: int, masks: bool
) -> tuple[dict[str, Any], dict[str, Any]]:
    """What was said of picture `i` and what is true, in its own pixels."""
    place = target["place"][i].cpu().numpy()
    scale, offset, size = place[:2], place[2:4], (int(place[5]), int(place[4]))
    boxes, said_masks = originals(found, scale, offset, size)
    said: dict[str, Any] = {"boxes": boxes, "scores": found["scores"].double().numpy()}
    said["labels"] = found["labels"].numpy()
    known = (target["labels"][i] >= 0).cpu().numpy()
    corners = target["boxes"][i].double().cpu().numpy()[known].reshape(-1, 2, 2)
    true: dict[str, Any] = {"boxes": ((corners - offset) / scale).reshape(-1, 4)}
    for key in ("labels", "crowd", "area"):
        true[key] = target[key][i].cpu().numpy()[known]
    true["image_id"] = int(target["image_id"][i])
    if masks:
        if known.any() and "outlines" not in target:
            raise BadData("masks are compared with outlines, and these pictures have boxes alone.")
        drawn = target["outlines"][i].original(size) if known.any() else []
        true["masks"] = [encode(mask) for mask in drawn]
        said["masks"] = said_masks
    return said, true
