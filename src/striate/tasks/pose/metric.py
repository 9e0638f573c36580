"""How well joints are found: PCK, PCKh, PDJ, PCP and pixels, from sums over people.

A joint counts as found where it lies within a share of a length from its true place:

| figure | the length |
|---|---|
| PCK@a | the longer side of the box around the person's known joints (Yang & Ramanan 2013) |
| PCKh@a | from neck to top of the head (after Andriluka et al. 2014, who take 0.6 of the head's box) |
| PDJ@a | the torso: left shoulder to right hip (Sapp & Taskar 2013; Toshev & Szegedy 2014) |

PCP: a limb is found where both its ends lie within half its length from their true places (the strict
reading of Ferrari et al. 2008). OKS: COCO's average precision of people, where how well one is found is the
object keypoint similarity (Ronchi & Perona 2017).
"""

from typing import Any

import numpy as np
import torch
from torch import Tensor

from striate.precision import AveragePrecision
from striate.task import Facts, Target
from striate.tasks.pose.head import Joints

SHARES = torch.linspace(0, 0.5, 51)
"""Of the torso, for the curve of PDJ."""

SIGMAS = {
    "nose": 0.026, "eye": 0.025, "ear": 0.035, "shoulder": 0.079, "elbow": 0.072, "wrist": 0.062,
    "hip": 0.107, "knee": 0.087, "ankle": 0.089, "neck": 0.079, "head top": 0.079,
}  # fmt: skip
"""How exactly people mark a joint, over the root of the person's area: COCO's constants; of neck and head top
those of CrowdPose (Li et al. 2019)."""

OTHER_SIGMA = 0.079
"""Of a joint with another name."""


def keep(output: Any) -> Tensor:
    """`Joints` -> float32 (B, S, K, 3) x, y and score after every stage, on the CPU."""
    if isinstance(output, Tensor):
        return output
    score = output.score[:, None, :, None].expand(-1, output.points.shape[1], -1, 1)
    return torch.cat([output.points, score], dim=-1).float().cpu()


class PoseMetric:
    """One evaluation with the skeleton of `facts`."""

    def __init__(self, facts: Facts) -> None:
        self.joints: list[str] = list(facts["joints"])
        self.bones: list[list[int]] = [list(bone) for bone in facts["bones"]]
        self.torso = _pair(self.joints, ("left shoulder", "right hip"))
        self.head = _pair(self.joints, ("neck", "head top"))
        self.people = 0
        self.sums: dict[str, Tensor] = {}
        """Name -> (found, out of), float64 (2, ...)."""
        self.seen: dict[int, list[tuple[dict[str, Any], dict[str, Any]]]] = {}
        """Number of a picture -> (truth, answer) of everybody in it, in its pixels."""

    @torch.no_grad()
    def update(self, output: Joints | Tensor, target: Target) -> None:
        """`Joints` or what `keep` made of them, and the truth."""
        output = keep(output)
        stages, truth = output[..., :2].double(), target["keypoints"].cpu().double()
        known = truth[..., 2] > 0
        apart = (stages - truth[:, None, :, :2]).norm(dim=-1)
        box = _longer(truth, known)[:, None]
        last = apart[:, -1]
        sized = known & (box > 0)  # a joint known alone has no box to measure it by
        for stage in range(stages.shape[1]):
            self._add(f"stage{stage + 1}", apart[:, stage] <= 0.1 * box, sized)
        for share in (0.05, 0.1, 0.2):
            self._add(f"pck{share:g}", last <= share * box, sized)
        if self.head:
            length, whole = _length(truth, self.head)
            self._add("pckh0.5", last <= 0.5 * length[:, None], known & whole[:, None])
        if self.torso:
            length, whole = _length(truth, self.torso)
            within = last[..., None] <= SHARES.double() * length[:, None, None]
            self._add("pdj", within, (known & whole[:, None])[..., None].expand_as(within))
        ends = torch.tensor(self.bones, dtype=torch.long).view(-1, 2).T
        limb = (truth[:, ends[0], :2] - truth[:, ends[1], :2]).norm(dim=-1)
        both = known[:, ends[0]] & known[:, ends[1]]
        self._add("pcp", (last[:, ends[0]] <= limb / 2) & (last[:, ends[1]] <= limb / 2), both)
        self._add("error", last / target["place"][:, :1].cpu().double(), known)
        for number, *one in zip(target["image_id"].tolist(), *in_originals(output, target), strict=True):
            self.seen.setdefault(number, []).append((one[0], one[1]))
        self.people += len(truth)

    def _add(self, name: str, found: Tensor, counts: Tensor) -> None:
        sums = torch.stack([(found.double() * counts).sum(0), counts.double().sum(0)])
        self.sums[name] = self.sums[name] + sums if name in self.sums else sums

    def merge(self, other: "PoseMetric") -> None:
        """Add another process's people, or another part of the set."""
        self.people += other.people
        for number, people in other.seen.items():
            self.seen.setdefault(number, []).extend(people)
        for name, sums in other.sums.items():
            self.sums[name] = self.sums[name] + sums if name in self.sums else sums

    def compute(self) -> dict[str, Any]:
        """Plain JSON: pck (at 0.1), pck_at_0.05, pck_at_0.2; pckh and pdj (at 0.5 and 0.2) where the skeleton
        has their lengths; pcp (mean over the limbs) where it has bones; error in pixels of the original
        pictures; people; oks_map, oks_map50, oks_map75; per_class {joint: {pck, error}}; limbs {"from to":
        pcp}; stages, the PCK@0.1 after each; pdj_curve."""
        if not self.people:
            return {"pck": 0.0, "people": 0, "per_class": {}, "limbs": {}, "stages": [], "pdj_curve": []}
        found: dict[str, Any] = {"pck": self._share("pck0.1")}
        found |= {f"pck_at_{share}": self._share(f"pck{share}") for share in ("0.05", "0.2")}
        if "pckh0.5" in self.sums:
            found["pckh"] = self._share("pckh0.5")
        curve: list[float] = []
        if "pdj" in self.sums:
            right, total = self.sums["pdj"].sum(1)
            curve = (right / total.clamp(min=1)).tolist()
            found["pdj"] = curve[20]
        right, total = self.sums["pcp"]
        limbs = {
            f"{self.joints[a]} – {self.joints[b]}": float(right[i] / total[i]) if total[i] else None
            for i, (a, b) in enumerate(self.bones)
        }
        known = [value for value in limbs.values() if value is not None]
        if known:
            found["pcp"] = sum(known) / len(known)
        found |= {"error": self._share("error"), "people": self.people}
        rows = {name: self.sums[name][0] / self.sums[name][1].clamp(min=1) for name in ("pck0.1", "error")}
        found["per_class"] = {
            joint: {"pck": float(rows["pck0.1"][i]), "error": float(rows["error"][i])}
            for i, joint in enumerate(self.joints)
        }
        average = self.precision.compute()
        found |= {f"oks_{key}": average[key] for key in ("map", "map50", "map75")}
        stages = [name for name in self.sums if name.startswith("stage")]
        return found | {"limbs": limbs, "stages": [self._share(name) for name in stages], "pdj_curve": curve}

    @property
    def precision(self) -> AveragePrecision:
        """What COCO counts: all pictures with the people that are known and those that were said."""
        sigmas = [sigma(joint) for joint in self.joints]
        found = AveragePrecision(["person"], "joints", sigmas)
        for number, people in sorted(self.seen.items()):
            truth, said = (
                {key: np.stack([person[key] for person in side]) for key in side[0]}
                for side in zip(*people, strict=True)
            )
            found.update([truth | {"image_id": number}], [said])
        return found

    def _share(self, name: str) -> float:
        right, total = self.sums[name].sum(1)
        return float(right / total.clamp(min=1))


def sigma(joint: str) -> float:
    """How exactly a joint can be known, by its name without its side."""
    words = joint.lower().replace("_", " ").split()
    plain = " ".join(word for word in words if word not in ("left", "right", "l", "r"))
    return SIGMAS.get(plain, OTHER_SIGMA)


def in_originals(
    output: Joints | Tensor, target: Target
) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """What is true and what was said of B people, in pixels of their pictures, as `AveragePrecision` has it.

    A person is as sure as its joints are on average.
    """
    said = keep(output)[:, -1].double().numpy()
    place = target["place"].cpu().double().numpy()[:, None]
    joints = target["keypoints"].cpu().double().numpy()
    there, seen = joints.copy(), said.copy()
    there[..., :2], seen[..., :2] = ((xy[..., :2] - place[..., 2:]) / place[..., :2] for xy in (joints, said))
    truth = [
        {"keypoints": there[i], "boxes": box, "area": area, "labels": 0, "crowd": False}
        for i, (box, area) in enumerate(
            zip(target["boxes"].cpu().numpy(), target["area"].cpu().numpy(), strict=True)
        )
    ]
    answers = [{"keypoints": one, "scores": float(one[:, 2].mean()), "labels": 0} for one in seen]
    return truth, answers


def results(output: Tensor, target: Target, numbers: list[int]) -> list[dict[str, Any]]:
    """Answers as `keep` kept them -> a list as COCO's result files have it, in pixels of the pictures."""
    _, said = in_originals(output, target)
    return [
        {
            "image_id": number,
            "category_id": numbers[0],
            "keypoints": one["keypoints"].ravel().tolist(),
            "score": one["scores"],
        }
        for number, one in zip(target["image_id"].tolist(), said, strict=True)
    ]


def _pair(joints: list[str], names: tuple[str, str]) -> tuple[int, int] | None:
    plain = [joint.lower().replace("_", " ") for joint in joints]
    one, other = (plain.index(name) if name in plain else -1 for name in names)
    return (one, other) if min(one, other) >= 0 else None


def _length(truth: Tensor, ends: tuple[int, int]) -> tuple[Tensor, Tensor]:
    """Pixels from one joint to the other (B,), and whether both are known."""
    one, other = truth[:, ends[0]], truth[:, ends[1]]
    return (one[:, :2] - other[:, :2]).norm(dim=-1), (one[:, 2] > 0) & (other[:, 2] > 0)


def _longer(truth: Tensor, known: Tensor) -> Tensor:
    """(B,): the longer side of the box around the known joints, in pixels; 0 where none is known."""
    far = torch.finfo(truth.dtype).max
    low = torch.where(known[..., None], truth[..., :2], far).amin(1)
    high = torch.where(known[..., None], truth[..., :2], -far).amax(1)
    return torch.where(known.any(1), (high - low).amax(1), 0.0)
