"""Dense evaluation: at the built size the network itself, on larger pictures its answer at every place."""

from collections import OrderedDict

import pytest
import torch
from torch import Tensor, nn

from striate.errors import BadSetting, DoesNotFit
from striate.models.alexnet import alexnet, alexnet_owt
from striate.models.chain import FullyConnected, maps_before_pools
from striate.models.dense import fully_convolutional
from striate.models.lenet import lenet5_modern
from striate.models.resnet import resnet20
from striate.models.vgg import vgg11
from striate.models.zfnet import zfnet


@pytest.fixture(autouse=True)
def _seed():
    torch.manual_seed(0)


class Unpadded(nn.Module):
    """Two convolutions without padding and a head for 2x3 cells, made for pictures of 14x18: stride 4."""

    def __init__(self):
        super().__init__()
        layers = {"conv1": nn.Conv2d(3, 4, 3), "pool1": nn.MaxPool2d(2), "conv2": nn.Conv2d(4, 6, 3)}
        self.features = nn.Sequential(OrderedDict(layers))
        self.head = FullyConnected(nn.MaxPool2d(2), 6, (2, 3), 5)
        for layer in (self.head.fc6, self.head.fc7, self.head.fc8):
            nn.init.normal_(layer.weight, std=layer.in_features**-0.5)
            nn.init.normal_(layer.bias)

    def stages(self, x: Tensor) -> dict[str, Tensor]:
        return maps_before_pools(self.features, x)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.features(x))


def test_every_cell_is_what_the_network_says_of_the_crop_there():
    net, x = Unpadded().eval(), torch.randn(2, 3, 14 + 3 * 4, 18 + 2 * 4)
    scores = fully_convolutional(net)(x)
    assert scores.shape == (2, 5, 4, 3)
    for row in range(4):
        for column in range(3):
            crop = x[:, :, row * 4 : row * 4 + 14, column * 4 : column * 4 + 18]
            assert torch.allclose(scores[:, :, row, column], net(crop), atol=1e-5)


SMALLEST = {alexnet: (67, 99), zfnet: (70, 90), vgg11: (32, 64), alexnet_owt: (223, 223)}


@pytest.mark.parametrize(("build", "size"), SMALLEST.items(), ids=lambda x: getattr(x, "__name__", ""))
def test_at_the_built_size_it_is_the_network_and_larger_pictures_give_a_map(build, size):
    net = build(classes=3, size=size).eval()
    dense, x = fully_convolutional(net), torch.randn(2, 3, *size)
    stride = 2 * list(net.strides.values())[-1]
    with torch.no_grad():
        plain = net(x)
        assert torch.allclose(dense(x)[:, :, 0, 0], plain, rtol=1e-4, atol=1e-5 * plain.abs().max().item())
        assert dense(x).shape == (2, 3, 1, 1)
        larger = dense(torch.randn(1, 3, size[0] + stride, size[1] + 2 * stride))
    assert larger.shape == (1, 3, 2, 3)


def test_a_padded_networks_head_answers_for_every_window_of_the_last_map():
    net = vgg11(classes=4, size=(64, 32)).eval()
    dense, x = fully_convolutional(net), torch.randn(1, 3, 96, 64)
    last = net.stages(x)["stage5"]
    with torch.no_grad():
        scores = dense(x)
        assert scores.shape == (1, 4, 2, 2)
        for row in range(2):
            for column in range(2):
                window = last[:, :, row * 2 : row * 2 + 4, column * 2 : column * 2 + 2]
                assert torch.allclose(scores[:, :, row, column], net.head(window), atol=1e-5)


@pytest.mark.parametrize("size", [(32, 32), (45, 70)])
def test_the_mean_of_the_scores_is_a_pooled_networks_own_answer(size):
    net, x = resnet20().eval(), torch.randn(2, 3, *size)
    scores = fully_convolutional(net)(x)
    assert scores.shape == (2, 10, *(-(-side // 4) for side in size))
    assert torch.allclose(scores.mean((2, 3)), net(x), atol=1e-5)


def test_the_weights_are_the_networks_own():
    net = Unpadded().eval()
    dense, x = fully_convolutional(net), torch.randn(1, 3, 14, 18)
    assert {id(weight) for weight in dense.parameters()} == {id(weight) for weight in net.parameters()}
    with torch.no_grad():
        net.head.fc8.weight.mul_(2)
    assert torch.allclose(dense(x)[:, :, 0, 0], net(x), atol=1e-5)


def test_smaller_pictures_are_refused():
    with pytest.raises(DoesNotFit, match="a filter of 2×3 does not fit a map of 2×2: give it larger"):
        fully_convolutional(Unpadded())(torch.zeros(1, 3, 14, 14))


@pytest.mark.parametrize("net", [lenet5_modern(), nn.Linear(2, 2)])
def test_other_heads_are_refused(net):
    with pytest.raises(BadSetting, match=f"{type(net).__name__} does not end in"):
        fully_convolutional(net)
