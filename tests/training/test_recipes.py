"""What a recipe promises: it is made from text, refuses what makes no sense, and survives JSON."""

import json

import pytest

from striate.errors import BadSetting
from striate.training.recipes import RECIPES, assignments, from_json, recipe_from


def test_typed_text_becomes_typed_values() -> None:
    recipe = recipe_from("fast", assignments(["lr=0.5", "epochs=3", "flip=no", "milestones=0.3 0.6"]))
    assert (recipe.lr, recipe.epochs, recipe.flip, recipe.milestones) == (0.5, 3, False, (0.3, 0.6))


@pytest.mark.parametrize("name", RECIPES)
def test_json_round_trip(name: str) -> None:
    assert from_json(json.loads(json.dumps(RECIPES[name].to_json()))) == RECIPES[name]


@pytest.mark.parametrize(
    ("name", "changes", "says"),
    [
        ("fats", {}, "recipe 'fats' is not known: did you mean fast?"),
        ("fast", {"leraning_rate": 1}, "setting 'leraning_rate' is not known"),
        ("fast", {"momentun": 1}, "did you mean momentum?"),
        ("fast", {"lr": "quick"}, "lr=quick: a number is needed"),
        ("fast", {"epochs": "2.5"}, "epochs=2.5: a whole number is needed"),
        ("fast", {"flip": "perhaps"}, "flip=perhaps: write yes or no"),
        ("fast", {"lr": -1}, "lr is -1.0: it must be above 0"),
        ("fast", {"ema": 1}, "ema is 1.0: it must be at least 0 and below 1"),
        ("fast", {"area": 0}, "area is 0.0: it must be above 0 and at most 1"),
        ("fast", {"optimizer": "adam"}, "optimizer 'adam' is not known: did you mean adamw?"),
        ("fast", {"lr": None}, "lr needs a value"),
        ("fast", {"shift": -3}, "shift is -3: it must not be negative"),
        ("fast", {"epochs": "inf"}, "epochs=inf: a whole number is needed"),
        ("fast", {"weight_decay": "nan"}, "weight_decay=nan: a number is needed"),
    ],
)
def test_refusals_name_the_field_and_the_way_out(name: str, changes: dict, says: str) -> None:
    with pytest.raises(BadSetting) as error:
        recipe_from(name, changes)
    assert says in str(error.value)


def test_an_assignment_needs_an_equals_sign() -> None:
    with pytest.raises(BadSetting, match="write key=value"):
        assignments(["lr"])
