"""How to train, as one flat frozen dataclass: flags and `--set key=value` are derived from it."""

import math
from dataclasses import asdict, dataclass, replace
from types import NoneType
from typing import Any, Literal, get_args, get_origin, get_type_hints

from striate.errors import BadSetting, one_of


@dataclass(frozen=True)
class Recipe:
    """Every knob of a training. A field that may be None is decided from the data when it is left so."""

    epochs: int = 10
    """Passes over the training pictures."""
    batch: int = 64
    """Pictures per optimizer step, over all processes."""
    optimizer: Literal["sgd", "adamw", "adadelta", "muon"] = "adamw"
    lr: float = 3e-3
    """Peak learning rate."""
    momentum: float = 0.9
    """Of sgd and muon; adamw's betas stay 0.9 and 0.999, adadelta's rho 0.95 (Zeiler 2012)."""
    nesterov: bool = True
    weight_decay: float = 0.02
    """Not applied to norms and biases. Decoupled for adamw (Loshchilov 2017), else coupled (He 2015)."""
    schedule: Literal["cosine", "linear", "step", "exponential", "constant"] = "cosine"
    """After the warm-up: down to zero along a cosine or a line, ÷10 at each milestone, by 4 % every eight
    epochs (Szegedy 2014), or flat."""
    milestones: tuple[float, ...] = (0.5, 0.75)
    """Of the step schedule, as shares of the training."""
    warmup: float = 0.1
    """Share of the training over which the rate climbs from zero to its peak."""
    head_lr: float = 1.0
    """Factor on the head's learning rate: above 1 when the backbone is already trained."""
    bias_lr: float = 1.0
    """Factor on the rate of biases and norms."""
    label_smoothing: float = 0.0
    balance: float = 0.0
    """How much rare classes count more than common ones in a loss over pixels: 0 not at all, 1 so much that
    every class counts the same; their share of the pixels to the power of minus this."""
    ema: float = 0.0
    """Decay of the averaged weights that are evaluated and kept (Polyak); 0 keeps the weights themselves."""
    renorm: float = 0.0
    """Convolution filters whose values have a larger root mean square are scaled back to it after each step
    (Zeiler & Fergus 2013); 0 leaves them alone."""
    clip: float = 0.0
    """Largest norm of the gradient; 0 leaves it alone."""
    accumulate: int = 1
    """Pieces in which a batch is computed, for networks too large for one."""
    patience: int = 0
    """Stop after so many epochs without a better validation figure, and keep the best; 0 never stops."""
    init: Literal["own", "nielsen"] = "own"
    """How weights begin: as the network has it, or normal ones of deviation 1/√outputs, biases of deviation
    1 and a last layer of zeros (Nielsen 2015, network3.py); for networks written as a design."""
    standardise: bool = True
    """Scale pixels to mean 0 and deviation 1 over the training pictures; no: they stay in 0..1."""
    flip: bool | None = None
    """Mirror half the training pictures. None: for colour pictures only (a mirrored 2 is not a 2)."""
    alternate: bool = False
    """Mirror each picture in every other epoch, in place of by chance: both sides are seen equally often
    (Jordan 2024, section 3.6)."""
    shift: int | None = None
    """Move training pictures by up to so many pixels. None: an eighth of the size, grey pictures a 14th."""
    area: float = 1.0
    """Train on crops that show from this share of a picture to all of it, in place of `shift` (Szegedy 2014,
    section 6: 0.08); 1 is off."""
    colour: float = 0.0
    """Add the principal colours of the pictures, each times a random number of this deviation (Krizhevsky
    2012, section 4.1: 0.1); 0 is off."""
    small: float = 0.0
    """Share of the training done on smaller pictures, from half the size up in four steps (Tan & Le 2021,
    section 4): a picture of half the size costs a quarter. For networks that take pictures of any size."""
    freeze_first: float = 0.0
    """Share of the training after which the first convolution stays as it is, and what its gradient would
    cost is saved (the published script of Jordan 2024: three epochs of eight); 0 never."""
    tta: bool = False
    """At test time average the answers for a picture and its mirror image."""
    evaluate: int = 1
    """Epochs between evaluations; after the last epoch there is always one."""
    precision: Literal["auto", "float32", "bfloat16"] = "auto"
    """auto: bfloat16 products on a GPU that has them, float32 elsewhere."""
    channels_last: bool = True
    """Keep the channels of a pixel together in memory, which convolutions on most machines like best."""
    winograd: bool = True
    """Fewer multiplications for 3x3 convolutions on a CPU, where it is faster (Lavin & Gray 2015): the same
    results to 1e-5 or so; needs `channels_last` and float32."""
    recompute: bool = False
    """Keep only what goes into each block and compute the rest again for the gradients: less memory, a
    third more time, the same weights (Chen et al. 2016)."""
    compile: bool = False
    """Compile the step (torch.compile): a minute at first, then faster on GPUs. CPUs need a C++ compiler."""
    cuda_graph: bool | None = None
    """Classifiers on one GPU: record the step and replay it, where launching its kernels takes longer than
    they do. Several times faster for small networks, the same weights. None: for this library's networks."""

    def __post_init__(self) -> None:
        positive = {key: getattr(self, key) for key in ("epochs", "batch", "accumulate", "evaluate", "lr")}
        for key, value in positive.items():
            if not value > 0:
                raise BadSetting(f"{key} is {value}: it must be above 0.")
        for key in ("momentum", "warmup", "label_smoothing", "ema", "small", "freeze_first"):
            if not 0 <= getattr(self, key) < 1:
                raise BadSetting(f"{key} is {getattr(self, key)}: it must be at least 0 and below 1.")
        if not 0 < self.area <= 1:
            raise BadSetting(f"area is {self.area}: it must be above 0 and at most 1.")
        for key in "weight_decay clip patience head_lr bias_lr renorm colour balance shift".split():
            if (getattr(self, key) or 0) < 0:
                raise BadSetting(f"{key} is {getattr(self, key)}: it must not be negative.")
        if self.patience and self.evaluate > 1:
            raise BadSetting("patience looks at every epoch's figure: leave evaluate at 1.")
        for key, choices in _CHOICES.items():
            one_of(key, getattr(self, key), choices)

    def to_json(self) -> dict[str, Any]:
        """Plain JSON types; `from_json` reads it back."""
        return asdict(self) | {"milestones": list(self.milestones)}


_TYPES = get_type_hints(Recipe)
_CHOICES = {key: get_args(kind) for key, kind in _TYPES.items() if get_origin(kind) is Literal}

RECIPES: dict[str, Recipe] = {
    # Sound for any network of the zoo, with or without normalisation, in few epochs.
    "fast": Recipe(),
    # He et al. 2015, section 4.2: what the papers of the 2010s did.
    "classic": Recipe(
        epochs=160,
        batch=128,
        optimizer="sgd",
        lr=0.1,
        nesterov=False,
        weight_decay=1e-4,
        schedule="step",
        warmup=0.01,
    ),
    # Few passes over a network with batch norm (Jordan et al. 2024): filters move by orthogonal steps.
    "muon": Recipe(
        epochs=14,
        batch=250,
        optimizer="muon",
        lr=0.1,
        momentum=0.6,
        weight_decay=0.0,
        label_smoothing=0.1,
    ),
    # For `fast` and `fast-narrow` on small colour pictures, where the time is in the arithmetic: the steps,
    # rates and mirror images of Jordan 2024 with an eighth of its batch, on smaller pictures at first.
    "sprint": Recipe(
        epochs=12,
        batch=250,
        optimizer="muon",
        lr=0.085,
        momentum=0.6,
        head_lr=11.6,
        bias_lr=415.0,
        weight_decay=0.0,
        schedule="linear",
        warmup=0.0,
        label_smoothing=0.2,
        shift=2,
        alternate=True,
        small=0.6,
        freeze_first=0.25,
        tta=True,
        evaluate=4,
    ),
    # Boxes, masks and joints from scratch, in few pictures: the same steps, and crops of many sizes.
    "places": Recipe(
        epochs=30,
        batch=16,
        optimizer="muon",
        lr=0.1,
        momentum=0.6,
        weight_decay=0.0,
        area=0.5,
        evaluate=3,
    ),
    # From weights learned elsewhere: small steps, the new head's ten times larger.
    "finetune": Recipe(
        epochs=15, batch=32, lr=1e-4, head_lr=10.0, weight_decay=0.01, label_smoothing=0.1, ema=0.99
    ),
}


def paper(net: str) -> Recipe:
    """The recipe that a network was published with, by its name or the name of its family.

    Raises:
        BadSetting: no paper gives one that is implemented; those that do are listed.
    """
    from striate.training.papers import PAPERS

    found = max((name for name in PAPERS if net.startswith(name)), key=len, default=None)
    if found is None:
        raise BadSetting(
            f"recipe paper: {net or 'this network'} has none; {', '.join(PAPERS)} and their variants have."
        )
    return PAPERS[found]


def recipe_from(name: str, changes: dict[str, Any], net: str = "") -> Recipe:
    """The recipe called `name` with some fields changed; values may be text as typed.

    "paper" is the recipe that the network called `net` was published with.

    Raises:
        BadSetting: an unknown recipe or field (the nearest is named), or a value of the wrong type.
    """
    recipe = paper(net) if name == "paper" else RECIPES[one_of("recipe", name, [*RECIPES, "paper"])]
    typed = {key: _typed(one_of("setting", key, _TYPES), value) for key, value in changes.items()}
    return replace(recipe, **typed)


def from_json(settings: dict[str, Any]) -> Recipe:
    """The recipe that `Recipe.to_json` wrote; fields it does not know are refused by name."""
    return recipe_from("fast", settings)


def assignments(pairs: list[str]) -> dict[str, str]:
    """`["lr=0.1", "flip=no"]` as a dictionary; a pair without `=` is refused."""
    for pair in pairs:
        if "=" not in pair:
            raise BadSetting(f"--set {pair}: write key=value, for instance --set lr=0.01.")
    return {key.strip(): value.strip() for key, value in (pair.split("=", 1) for pair in pairs)}


def _typed(key: str, value: Any) -> Any:
    """`value` as the type of the field `key`."""
    kind = _TYPES[key]
    options = [option for option in get_args(kind) if option is not NoneType] or [kind]
    if get_origin(kind) is Literal:
        return one_of(key, str(value), options)
    if value is None or str(value).lower() in ("none", "auto"):
        if NoneType in get_args(kind):
            return None
        raise BadSetting(f"{key} needs a value; its default is {getattr(Recipe(), key)!r}.")
    if get_origin(kind) is tuple:
        return tuple(
            _number(key, part, float) for part in (value.split() if isinstance(value, str) else value)
        )
    return _truth(key, value) if options[0] is bool else _number(key, value, options[0])


def _truth(key: str, value: Any) -> bool:
    words = {"true": True, "yes": True, "on": True, "1": True, "false": False, "no": False, "off": False}
    answer = (words | {"0": False}).get(str(value).lower())
    if answer is None:
        raise BadSetting(f"{key}={value}: write yes or no.")
    return answer


def _number(key: str, value: Any, kind: type) -> Any:
    try:
        number = float(value)
        if not math.isfinite(number) or (kind is int and number != int(number)):
            raise ValueError
    except (TypeError, ValueError):
        raise BadSetting(f"{key}={value}: a{' whole' if kind is int else ''} number is needed.") from None
    return kind(number)
