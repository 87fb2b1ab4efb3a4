"""What ImageNet's classes say about the categories of sounds.

    mass(category) = sum of the probabilities of its classes

A video shows what it shows: classes of other things keep their mass, so the masses of a frame with
nothing known are all small. ImageNet has no class for a baby, rain, a helicopter, fireworks or
snoring: what stands near a baby (crib, diaper) stands for it, an umbrella for rain; the others can
be reached by name only.
"""

from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Float32

LABELS = Path(__file__).with_name("labels.txt")

CLASSES_OF_CATEGORY: dict[str, tuple[str, ...]] = {
    "baby_crying": ("bassinet", "bib", "bonnet", "cradle", "crib", "diaper", "nipple"),
    "bell": ("bell cote", "chime", "gong"),
    "cat": ("tabby", "tiger cat", "Persian cat", "Siamese cat", "Egyptian cat"),
    "chainsaw": ("chain saw", "lumbermill"),
    "clock_tick": ("analog clock", "digital clock", "stopwatch", "wall clock"),
    "crackling_fire": ("fire screen", "stove", "torch", "volcano"),
    "drum": ("drum", "drumstick", "maraca", "steel drum"),
    "engine": ("go-kart", "lawn mower", "moped", "motor scooter", "racer", "tractor"),
    "frog": ("bullfrog", "tree frog", "tailed frog"),
    "piano": ("grand piano", "upright"),
    "printer": ("photocopier", "printer", "typewriter keyboard"),
    "rail_transport": (
        *("bullet train", "electric locomotive", "freight car", "passenger car"),
        *("steam locomotive", "streetcar"),
    ),
    "rain": ("rain barrel", "umbrella"),
    "rooster": ("cock", "hen"),
    "sea_waves": (
        *("breakwater", "cliff", "pier", "promontory", "sandbar", "seashore"),
        *("coral reef", "catamaran", "yawl"),
    ),
    "vacuum_cleaner": ("vacuum",),
    "water": ("dam", "fountain", "geyser", "lakeside", "washbasin"),
}
"""Labels of the classes of each category, in `labels.txt`; `dog` has all breeds instead. No class
stands for two categories, since a model may know both."""

DOG = "dog"
DOG_CLASSES = range(151, 269)
"""Chihuahua to Mexican hairless: ImageNet's breeds."""

NAMES = {
    "baby": "baby_crying",
    "baby_cry": "baby_crying",
    "clock": "clock_tick",
    "dog_bark": DOG,
    "dog_barking": DOG,
    "drums": "drum",
    "fire": "crackling_fire",
    "fire_crackling": "crackling_fire",
    "rail": "rail_transport",
    "sea": "sea_waves",
    "train": "rail_transport",
    "water_flowing": "water",
}
"""Other names of categories, as VEGAS, ESC-10 and others spell them."""


DOUBT = 0.1
"""Mass that is added to what chance gives: small masses say little, large ones nearly all."""


class Seen(NamedTuple):
    """What was seen of one category."""

    category: str
    mass: float
    labels: tuple[str, ...]
    """Its likeliest classes, likeliest first."""


@cache
def class_labels() -> tuple[str, ...]:
    """Return the labels of the 1000 classes, in order."""
    return tuple(LABELS.read_text(encoding="utf-8").splitlines())


def category_key(category: str) -> str:
    """Return a category's name in the tables: lower case, words joined by `_`."""
    name = "_".join(category.lower().replace("-", " ").replace("_", " ").split())
    return NAMES.get(name, name)


def classes_of(category: str) -> tuple[int, ...]:
    """Return the numbers of a category's classes; none where ImageNet does not know it."""
    key, labels = category_key(category), class_labels()
    if key == DOG:
        return tuple(DOG_CLASSES)
    return tuple(labels.index(label) for label in CLASSES_OF_CATEGORY.get(key, ()))


def masses(
    probabilities: Float[np.ndarray, "images 1000"], categories: Sequence[str]
) -> Float32[np.ndarray, "images categories"]:
    """Return the probability mass of each category in each image."""
    columns = [probabilities[:, list(classes_of(name))].sum(axis=1) for name in categories]
    return np.stack(columns, axis=1).astype(np.float32)


def evidence(
    mass: Float[np.ndarray, "*images categories"], categories: Sequence[str]
) -> Float[np.ndarray, "*images categories"]:
    """Return how much speaks for each category: its mass over DOUBT and what chance gives.

    118 of 1000 classes are dogs, so a picture of anything has a little of them.
    """
    chance = np.array([len(classes_of(name)) for name in categories]) / len(class_labels())
    return mass / (DOUBT + chance)


def seen(
    probabilities: Float[np.ndarray, " 1000"], categories: Sequence[str], labels: int = 2
) -> tuple[Seen, ...]:
    """Describe an image, or the mean over a video: its categories, most evidence first."""
    names = class_labels()

    def describe(category: str) -> Seen:
        classes = classes_of(category)
        likeliest = sorted(classes, key=lambda index: -probabilities[index])[:labels]
        mass = float(probabilities[list(classes)].sum())
        return Seen(category, mass, tuple(names[index] for index in likeliest))

    found = [describe(category) for category in categories]
    order = np.argsort(-evidence(np.array([one.mass for one in found]), categories), kind="stable")
    return tuple(found[index] for index in order)


def top_labels(probabilities: Float[np.ndarray, " 1000"], count: int = 5) -> tuple[str, ...]:
    """Return the likeliest classes with their probabilities, as text."""
    order = np.argsort(-probabilities)[:count]
    return tuple(f"{class_labels()[index]} {probabilities[index]:.2f}" for index in order)
