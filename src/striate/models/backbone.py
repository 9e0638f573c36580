"""The contract of every network in the zoo: stages that applications build on, and a head that classifies."""

from typing import Any, Protocol

from torch import Tensor, nn


class Backbone(Protocol):
    """A network cut in two: `stages` makes feature maps, `head` turns the last one into logits.

    Applications other than classification read `stages` and replace `head` by their own (or by nothing).
    `widths` and `strides` are known before anything runs, so a head can be built for any backbone.
    """

    widths: dict[str, int]
    """Stage name -> number of channels, finest stage first."""
    strides: dict[str, int]
    """Stage name -> input pixels between neighbouring cells of the map."""
    head: nn.Module
    """The last stage's map (B, C, H, W) -> logits (B, classes)."""

    def stages(self, x: Tensor) -> dict[str, Tensor]:
        """(B, channels, H, W) -> stage name -> (B, width, ~H/stride, ~W/stride), finest first."""
        ...

    def __call__(self, x: Tensor) -> Tensor:
        """(B, channels, H, W) -> logits (B, classes): the head on the last stage."""
        ...


def behead(backbone: Any) -> None:
    """Take away what a backbone has for classification alone: its head, GoogLeNet's auxiliary classifiers.

    Several processes wait for the gradient of every parameter that is there.
    """
    backbone.head = nn.Identity()
    for name in getattr(backbone, "auxiliary", ()):
        delattr(backbone, name)
        backbone.auxiliary = ()
