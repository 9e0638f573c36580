"""Published weights are named with size, sum and licence, found where they usually lie, and checked."""

import hashlib

import pytest
import torch

from striate.errors import BadWeights
from striate.fetching import File
from striate.models import network, published


@pytest.fixture
def nowhere(tmp_path, monkeypatch):
    """A machine on which nothing was ever fetched."""
    monkeypatch.setenv("STRIATE_DATA", str(tmp_path / "data"))
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "torch"))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return tmp_path


def test_every_name_is_one_of_torchvisions(nowhere):
    for name in published.IMAGENET:
        file = published.published(name)
        start = file.sum.removeprefix("sha256:")
        assert len(start) == 8 and int(start, 16) and start in file.name and file.size > 1e6


def test_without_them_the_error_says_how_to_get_them(nowhere):
    with pytest.raises(BadWeights) as told:
        network("resnet18", weights="imagenet")
    for word in ("resnet18", "47 MB", "BSD-3", "resnet18-f37072fd.pth", "--download", "--weights FILE"):
        assert word in str(told.value), word


def test_a_network_without_published_weights_says_which_have_some():
    with pytest.raises(BadWeights, match=r"none are published for resnet20; there are for alexnet-owt, .*"):
        network("resnet20", weights="imagenet")


@pytest.mark.parametrize("place", ["data/weights", "torch/hub/checkpoints", "cache/striate/weights"])
def test_they_load_from_the_usual_places(nowhere, monkeypatch, place):
    theirs = network("resnet18", classes=1000)
    (nowhere / place).mkdir(parents=True)
    path = nowhere / place / "resnet18-12345678.pth"
    torch.save(theirs.state_dict(), path)
    start = hashlib.sha256(path.read_bytes()).hexdigest()[:8]
    named = File(f"https://example.org/{path.name}", path.stat().st_size, f"sha256:{start}")
    monkeypatch.setattr(published, "published", lambda name: named)
    ours = network("resnet18", weights="imagenet", classes=1000)
    assert torch.equal(ours.layer4[1].conv2.weight, theirs.layer4[1].conv2.weight)


def test_a_damaged_file_is_refused(nowhere):
    path = nowhere / "torch" / "hub" / "checkpoints" / "resnet18-f37072fd.pth"
    path.parent.mkdir(parents=True)
    path.write_bytes(b"not weights")
    with pytest.raises(
        BadWeights, match="resnet18-f37072fd.pth: is not what torchvision published .*: delete it"
    ):
        published.imagenet("resnet18")
