"""The contract between an application and everything else: a frozen dataclass of plain functions.

The training loop, the run folder, the command line and the report know an application only through the
fields below. How the eight applications fill them:

| task     | target fields (one batch)                | the network is fed        | metric needs       |
|----------|------------------------------------------|---------------------------|--------------------|
| classify | label (B,)                               | images                    | sums               |
| retrieve | label (B,)                               | images                    | every embedding    |
| detect   | boxes, labels: lists of (N, 4), (N,)     | images, boxes in training | every prediction   |
| segment  | mask (B, H, W)                           | images                    | sums               |
| pose     | keypoints (B, K, 3)                      | images                    | sums               |
| play     | label (B,) = the planner's action        | images (4 stacked frames) | sums               |
| caption  | tokens (B, captions, T)                  | images, words in training | every sentence     |
| stylize  | none: it optimises a picture, not a net  |                           |                    |
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, Protocol

if TYPE_CHECKING:  # torch and Pillow only name types here: reading the table of tasks stays instant
    from PIL import Image
    from torch import Tensor, nn

Target = dict[str, Any]
"""One batch's truth: the field's own names (`label`, `boxes`, ...) to tensors, or lists where ragged."""

Facts = dict[str, Any]
"""What the data says about itself, plain JSON: `classes`, and a skeleton or vocabulary where there is one."""

PERCENT = frozenset(
    "accuracy top5 calibration_error pixel_accuracy class_accuracy "
    "pck pck_at_0.05 pck_at_0.2 pckh pdj pcp".split()
)
"""Figures that the field says in per cent; average precision and overlap it says as fractions."""


class Metric(Protocol):
    """Collects one evaluation. Per-image sums or kept predictions, so batches of any size agree."""

    def update(self, output: Any, target: Target) -> None:
        """Take in one batch: what the network returned and the truth."""
        ...

    def merge(self, other: Any) -> None:
        """Take in what another process collected on its share of the images."""
        ...

    def compute(self) -> dict[str, Any]:
        """Plain JSON figures under the field's names; the task's headline figure among them."""
        ...


class Prediction(Protocol):
    """What the network says of one picture: a frozen dataclass, in pixels of the original picture."""

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON types."""
        ...

    def draw(self, image: Any = None) -> "Image.Image":
        """The picture with the answer on it; `image` where the prediction did not keep its own."""
        ...

    def files(self) -> "dict[str, Image.Image]":
        """What else is saved beside the drawing: the end of a file's name to a picture."""
        ...


@dataclass(frozen=True)
class Picture:
    """One figure of a report: a title, a sentence on how to read it, PNG bytes."""

    title: str
    caption: str
    png: bytes


def _images_alone(network: "nn.Module", images: "Tensor", target: Target | None) -> Any:
    return network(images)


def _stays(target: Target, warp: Any) -> Target:
    return target


def _as_it_is(output: Any) -> Any:
    return output


@dataclass(frozen=True)
class Task:
    """An application. Only functions and plain values: no state, nothing to inherit."""

    name: str
    """As on the command line: `classify`."""

    figure: str
    """The headline figure that `metric` computes, higher is better: `accuracy`, `map`, `miou`."""

    fit: Literal["crop", "pad"]
    """How a picture of another shape meets the network's: scaled and cropped, or scaled and padded."""

    facts: Callable[[Any], Facts]
    """(data.Source) -> what the data says about itself, kept in `model.json` for as long as the model."""

    targets: Callable[[Target, Any], Target]
    """(a split's raw targets, data.Fit of every picture) -> stored targets, in pixels of the store."""

    build: Callable[["nn.Module", Facts], "nn.Module"]
    """(backbone, facts) -> the network: the backbone with this application's head on its stages."""

    loss: Callable[[Any, Target, float], dict[str, "Tensor"]]
    """(output, target, label smoothing) -> named terms, each a scalar; the loop minimises their sum."""

    metric: Callable[[Facts], Metric]
    """facts -> an empty metric."""

    decode: Callable[[Any, Facts], list[dict[str, Any]]]
    """(output of a batch, facts) -> one plain dict per picture. Every threshold lives here."""

    prediction: Callable[..., Prediction]
    """(decoded dict, file=, image=, fit=) -> the Prediction, back in pixels of the original picture."""

    pictures: Callable[..., list[Picture]]
    """(figures of an evaluation, facts, outputs and images shown) -> pictures for the report."""

    forward: Callable[["nn.Module", "Tensor", Target | None], Any] = _images_alone
    """(network, images, target or None) -> output of the same kind with and without the target. Captioning
    is fed the true words and a two-stage detector the true boxes to sample from; most need only images."""

    samples: Callable[[Any], Any] | None = None
    """(data.Source) -> the Source whose pictures are what the network sees one at a time, where that is not
    whole pictures but parts of them: people."""

    part: Callable[[Any], tuple[int, int, int, int]] | None = None
    """(x1, y1, x2, y2 of a thing) -> the part of its picture that the network sees, as `samples` has it."""

    join: Callable[..., Prediction] | None = None
    """(the predictions of one picture's parts, boxes (P, 4), scores (P,), facts, file=, size=, image=) -> the
    Prediction of the whole picture, all in its pixels."""

    look: Callable[..., tuple["Tensor", Target, list[str]]] | None = None
    """(network, split, prepare, crops=, scales=, dense=) -> (answers, truth, lines about damaged pictures):
    every picture seen in several ways, as papers evaluate. None where an answer points at places."""

    vote: Callable[[list["Tensor"], str], "Tensor"] | None = None
    """(the answers of several networks, how) -> the answer they agree on."""

    move: Callable[[Target, Any], Target] = _stays
    """(target, data.Warp) -> the target after the augmentation that moved the pixels."""

    heads: tuple[str, ...] = ()
    """The heads that can be chosen by name, the usual one first; `build` finds the chosen one in
    facts["head"]. Empty where there is only one."""

    whole: bool = False
    """Whether the backbone's own head answers, for pictures of the size that it was made for. The other
    applications build on its stages, which take pictures of any size."""

    net: str = "resnet20"
    """What is trained where nobody names a network."""

    recipe: str = "fast"
    """How, where nobody names a recipe."""

    smooths: bool = True
    """Whether its loss takes label smoothing; a recipe's own is left out where it does not."""

    mirror: Callable[[Any], Any] | None = None
    """The output for mirrored pictures -> as if for the pictures themselves; None where two such outputs
    cannot be averaged."""

    refine: Callable[[Any, "Tensor"], Any] | None = None
    """(output, pixels of the windows uint8 (B, C, H, W)) -> the output made to follow their outlines."""

    tile: Callable[..., Prediction] | None = None
    """(uint8 windows -> output, picture, data.Prepare, facts, file) -> the Prediction of a picture of any
    size, looked at piece by piece."""

    results: Callable[[Any, Target, list[int]], list[dict[str, Any]]] | None = None
    """(what `keep` kept of pictures, their truth, the number of each class) -> the answers as a list in the
    format of COCO's result files."""

    keep: Callable[[Any], Any] = _as_it_is
    """An output -> what the report and the metric need of it, where the output itself is large."""
