"""The fast network against the paper it is from: its count, its first layer, its beginning."""

import torch
from torch.utils._python_dispatch import TorchDispatchMode

from striate import experiment, settings
from striate.data.augment import normalise
from striate.models import network
from striate.models.fast import Fast
from striate.training.recipes import recipe_from


def test_parameters_are_those_of_the_paper() -> None:
    assert sum(p.numel() for p in Fast().parameters()) == 1_972_792
    assert sum(p.numel() for p in Fast((128, 384, 384)).parameters()) == 4_606_520


def test_the_first_layer_whitens_the_pictures_patches() -> None:
    torch.manual_seed(0)
    smooth = torch.nn.functional.avg_pool2d(torch.randn(200, 3, 18, 18), 3, 1)  # neighbours are alike
    net = Fast()
    net.whiten(smooth)
    answers = torch.nn.functional.conv2d(smooth, net.first.weight).movedim(1, -1).flatten(0, 2)
    twelve = answers[:, :12]
    torch.testing.assert_close(twelve, -answers[:, 12:])
    second_moments = (twelve.T @ twelve / len(twelve)).detach()
    # The constant that is added to a variance leaves directions of little variance below 1.
    assert (second_moments - second_moments.diag().diag()).abs().max() < 1e-3
    assert 0.9 < second_moments.diag().max() <= 1.0


def test_whitening_takes_few_pictures_at_once_and_counts_all() -> None:
    class Largest(TorchDispatchMode):
        numbers = 0

        def __torch_dispatch__(self, func, types, args=(), kwargs=None):
            out = func(*args, **(kwargs or {}))
            self.numbers = max(self.numbers, out.numel() if isinstance(out, torch.Tensor) else 0)
            return out

    images, net = torch.randn(200, 3, 12, 10) + torch.linspace(0, 2, 200)[:, None, None, None], Fast()
    with Largest() as largest:
        net.whiten(images)
    assert largest.numbers <= 64 * 12 * 11 * 9
    patches = torch.nn.functional.unfold(images, 2).movedim(1, -1).reshape(-1, 12).double()
    whitened = patches @ net.first.weight[:12].reshape(12, 12).double().T
    expected = torch.linalg.eigvalsh(patches.T @ patches / len(patches))
    torch.testing.assert_close(
        (whitened.T @ whitened / len(patches)).diag(), expected / (expected + 5e-4), rtol=1e-5, atol=0
    )


def test_convolutions_begin_as_the_identity_and_norms_keep_their_scale() -> None:
    net = Fast()
    group = net.groups[1]
    x = torch.randn(2, 256, 7, 7)
    torch.testing.assert_close(group.conv2(x), x)
    frozen = [name for name, p in net.named_parameters() if not p.requires_grad]
    assert frozen == ["first.weight", *(f"groups.{i}.norm{j}.weight" for i in range(3) for j in (1, 2))]


def test_a_training_fits_the_first_layer_to_its_pictures() -> None:
    todo = settings.new({"data": "digits", "net": "fast", "size": 16}, {})
    made = experiment.set_up(todo, torch.device("cpu"), experiment.silent, download=False)
    expected = network("fast", channels=1)
    assert isinstance(expected, Fast)
    images = normalise(made.stores["train"].sample(), made.prepare)
    filters = made.backbone.first.weight
    assert filters.shape == (8, 1, 2, 2) and torch.allclose(filters[:4], -filters[4:])
    gains = torch.nn.functional.conv2d(images, filters)[:, :4].square().mean(dim=(0, 2, 3))
    assert gains.max() < 1.01 and gains.max() > 0.9


def test_the_papers_recipe_is_found_by_name() -> None:
    recipe = recipe_from("paper", {}, "fast")
    assert (recipe.optimizer, recipe.epochs, recipe.batch) == ("muon", 8, 2000)
