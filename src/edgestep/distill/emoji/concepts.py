"""Which emoji the bundled generator learns: the kinds that people use most, present in all four styles."""

from zlib import crc32

CATEGORIES = ("Smileys & Emotion", "Animals & Nature", "Food & Drink", "Activities")

MORE = """
airplane alarm-clock ambulance anchor automobile bank battery bell bicycle books bullseye bus camera candle
castle clapping-hands cloud cloud-with-rain crown crescent-moon droplet eyes factory fire fire-engine
flexed-biceps folded-hands full-moon gem-stone glasses globe-with-meridians hammer helicopter high-voltage house
key laptop light-bulb locked locomotive magnet mobile-phone money-bag nail-polish ok-hand package pencil
police-car rainbow raising-hands ring rocket sailboat scissors shooting-star snowflake snowman speedboat star
sun sun-with-face taxi telephone television thumbs-down thumbs-up tractor trumpet umbrella victory-hand violin
waving-hand wrench
""".split()  # noqa: SIM905 (a list of 80 lines reads worse)
"""Common emoji of the other categories."""


def concepts_from_packages(packages: dict[str, dict]) -> list[str]:
    """Return the sorted icon names of the wanted kinds that every package has.

    `packages`: style -> {"icons": {name: body}, "aliases": {...}, "categories": {category: [name, ...]}}.
    """
    drawn = [set(p["icons"]) | set(p["aliases"]) for p in packages.values()]
    common = set.intersection(*drawn)
    wanted = set(MORE)
    for package in packages.values():
        for category in CATEGORIES:
            wanted.update(package["categories"].get(category, ()))
    return sorted(common & wanted)


def others_in_packages(packages: dict[str, dict], concepts: list[str]) -> list[str]:
    """Return the sorted names of the other icons: no skin tones, no flags (hundreds that differ in little)."""
    names = {name for package in packages.values() for name in package["icons"]}
    few = [name for name in names if not ("skin-tone" in name or name.startswith("flag"))]
    return sorted(set(few) - set(concepts))


def is_held_out(name: str) -> bool:
    """Whether an icon of that name, in any style, is kept from training: one name in sixteen."""
    return crc32(name.encode()) % 16 == 0
