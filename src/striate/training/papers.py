"""How the published networks were trained: `--recipe paper`.

A name also stands for its variants: `vgg` for `vgg16-bn`, `alexnet` for `alexnet-single`. Where a paper
lowers the rate "when the validation error stops improving", the milestones are ours. Of what was done to the
pictures, crops, mirror images and colours are here; VGG's and ResNet's pictures of several sizes are not.
LeNet-5's stochastic diagonal Levenberg-Marquardt is not here either, so LeNet-5 has no entry.
"""

from dataclasses import replace

from striate.training.recipes import Recipe

# Krizhevsky et al. 2012, section 5: the rate was divided by ten three times in about 90 epochs.
ALEXNET = Recipe(
    epochs=90,
    batch=128,
    optimizer="sgd",
    lr=0.01,
    momentum=0.9,
    nesterov=False,
    weight_decay=5e-4,
    schedule="step",
    milestones=(0.35, 0.6, 0.85),
    warmup=0.0,
    colour=0.1,
)
# He et al. 2015, section 3.4: 600,000 steps of 256 of ImageNet's pictures.
RESNET = replace(ALEXNET, epochs=120, batch=256, lr=0.1, weight_decay=1e-4, milestones=(0.25, 0.5, 0.75))
# Section 4.2: 64,000 steps of 128 of CIFAR-10's pictures, the rate divided by ten at 32,000 and 48,000.
CIFAR = replace(RESNET, epochs=164, batch=128, milestones=(0.5, 0.75), shift=4, colour=0.0)
# The 110-layer net begins at a tenth of the rate for some 400 steps; here the rate climbs over as many.
DEEP = replace(CIFAR, warmup=0.00625)
# Karpathy's pages train for as long as they are open.
CONVNETJS = Recipe(
    epochs=10,
    batch=4,
    optimizer="adadelta",
    lr=1.0,
    weight_decay=1e-4,
    schedule="constant",
    warmup=0.0,
    shift=0,
)

# Jordan 2024, with the optimizer of Jordan et al. 2024 ("Muon"), which came to the network later. Their loss
# is a batch's sum and ours its mean, so the rates of offsets and head are 2,000 times theirs; the head's also
# (9/256)² times for our larger logits, and both (1 - 0.6)/(1 - 0.85) times, as momentum is 0.6 for all here.
FAST = Recipe(
    epochs=8,
    batch=2000,
    optimizer="muon",
    lr=0.24,
    momentum=0.6,
    head_lr=18.0,
    bias_lr=1200.0,
    weight_decay=0.0,
    schedule="linear",
    warmup=0.0,
    label_smoothing=0.2,
    shift=2,
    freeze_first=0.375,
    alternate=True,
    tta=True,
)

PAPERS: dict[str, Recipe] = {
    "alexnet": ALEXNET,
    # Zeiler and Fergus 2013, section 3: neither weight decay nor colours are mentioned.
    "zfnet": replace(ALEXNET, epochs=70, weight_decay=0.0, renorm=0.1, colour=0.0),
    # Szegedy et al. 2014, section 6: 4 % less every 8 epochs, Polyak averaging, crops from 8 % of the area.
    # The first rate, the batch, the weight decay and the number of epochs are not in the paper.
    "googlenet": replace(
        ALEXNET, epochs=250, weight_decay=2e-4, schedule="exponential", ema=0.9999, area=0.08, colour=0.0
    ),
    # Simonyan and Zisserman 2015, section 3.1.
    "vgg": replace(ALEXNET, epochs=74, batch=256),
    "resnet": RESNET,
    "plain": RESNET,
    **{f"{kind}{depth}": CIFAR for kind in ("resnet", "plain") for depth in (20, 32, 44, 56)},
    **{f"{kind}{depth}": DEEP for kind in ("resnet", "plain") for depth in (110, 1202)},
    # Nielsen, chapter 6: a constant rate, no momentum; lambda 0.1 over 5,000 batches an epoch is 2e-5.
    "nielsen": Recipe(
        epochs=60,
        batch=10,
        optimizer="sgd",
        lr=0.03,
        momentum=0.0,
        weight_decay=2e-5,
        schedule="constant",
        warmup=0.0,
        init="nielsen",
        standardise=False,
        shift=0,
    ),
    "fast": FAST,
    "convnetjs-cifar10": replace(CONVNETJS, shift=2),
    "convnetjs-mnist": replace(CONVNETJS, batch=20, weight_decay=1e-3),
}
