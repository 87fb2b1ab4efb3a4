"""The classes of AudioSet that name each category of a dataset."""

from collections.abc import Sequence

from v2s_jax.features.imagenet.categories import category_key

CLASSES_OF_CATEGORY: dict[str, tuple[str, ...]] = {
    "baby_crying": ("Baby cry, infant cry", "Crying, sobbing"),
    "bell": ("Bell", "Church bell", "Jingle bell", "Bicycle bell", "Tubular bells", "Chime"),
    "cat": ("Cat", "Meow", "Purr", "Caterwaul"),
    "chainsaw": ("Chainsaw",),
    "clock_tick": ("Clock", "Tick", "Tick-tock"),
    "crackling_fire": ("Fire", "Crackle"),
    "dog": ("Dog", "Bark", "Yip", "Howl", "Bow-wow", "Growling", "Whimper (dog)"),
    "drum": (
        *("Drum kit", "Drum machine", "Drum", "Snare drum", "Rimshot", "Drum roll", "Bass drum"),
        *("Timpani", "Tabla", "Percussion"),
    ),
    "engine": (
        *("Engine", "Light engine (high frequency)", "Medium engine (mid frequency)"),
        *("Heavy engine (low frequency)", "Engine starting", "Idling"),
    ),
    "fireworks": ("Fireworks", "Firecracker"),
    "frog": ("Frog", "Croak"),
    "helicopter": ("Helicopter",),
    "piano": ("Piano", "Electric piano"),
    "printer": ("Printer",),
    "rail_transport": (
        *("Rail transport", "Train", "Train whistle", "Train horn", "Railroad car, train wagon"),
        *("Train wheels squealing", "Subway, metro, underground"),
    ),
    "rain": ("Rain", "Raindrop", "Rain on surface"),
    "rooster": ("Chicken, rooster", "Crowing, cock-a-doodle-doo"),
    "sea_waves": ("Ocean", "Waves, surf"),
    "sneeze": ("Sneeze",),
    "snoring": ("Snoring",),
    "vacuum_cleaner": ("Vacuum cleaner",),
    "water": (
        *("Water", "Stream", "Waterfall", "Ocean", "Waves, surf", "Rain", "Raindrop"),
        *("Rain on surface", "Pour", "Trickle, dribble", "Gush", "Water tap, faucet", "Gurgling"),
        *("Splash, splatter", "Liquid", "Drip", "Fill (with liquid)"),
    ),
}
"""Names as in yamnet_class_map.csv."""

NAMES = {"crying_baby": "baby_crying", "person_sneeze": "sneeze", "sneezing": "sneeze"}
"""Other names of categories, besides those that the image classifier knows."""
NUMBERING = "0123456789 -_."
"""In front of a name, as in "001 - Dog bark"."""


def classes_of(category: str, categories: Sequence[str]) -> tuple[str, ...]:
    """Return the classes that name a category among others; none for one that is not known.

    A class of several of the categories, such as that of rain, belongs to the narrowest one.
    """
    own = _all_classes(category)
    narrower = [other for one in categories if 0 < len(other := _all_classes(one)) < len(own)]
    return tuple(name for name in own if not any(name in other for other in narrower))


def _all_classes(category: str) -> tuple[str, ...]:
    key = category_key(category.lstrip(NUMBERING) or category)
    return CLASSES_OF_CATEGORY.get(NAMES.get(key, key), ())
