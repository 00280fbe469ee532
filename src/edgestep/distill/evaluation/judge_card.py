"""A trained judge -> its folder, with a README.md: what it is, how well it sees, whose pictures it learned."""

import json
from pathlib import Path

from edgestep.distill.emoji.recipe import EmojiRecipe
from edgestep.distill.evaluation.classifier import PictureClassifier, load_classifier, save_classifier
from edgestep.distill.evaluation.judge_training import accuracy_on_unseen_poses, train_classifier
from edgestep.distill.workers import Workers


def make_judge(work: Path, recipe: EmojiRecipe, workers: Workers) -> PictureClassifier:
    """Train the judge into `work`/judge, or take the one that is there; return it as its fp16 file holds it."""
    folder = work / "judge"
    if not folder.exists():
        classifier = train_classifier(work, recipe, workers)
        if workers.is_main:
            save_judge(classifier, work, folder)
        workers.wait()
    return load_classifier(folder, workers.device)


def save_judge(classifier: PictureClassifier, work: Path, folder: Path) -> dict[str, float]:
    """Measure the judge on unseen poses of `work`'s pictures and write its folder; return {"top1", "top5"}."""
    accuracy = accuracy_on_unseen_poses(classifier, work)
    card = json.loads((work / "captions.json").read_text())
    config = classifier.config
    text = TEMPLATE.format(
        concepts=len(config.concepts),
        styles=len(card["styles"]),
        size=config.picture_size,
        features=config.features,
        parameters=sum(p.numel() for p in classifier.parameters()),
        top1=100 * accuracy["top1"],
        top5=100 * accuracy["top5"],
        packages="\n".join(
            f"| `{style}` | {about['licence']} | {about['version']} |" for style, about in card["packages"].items()
        ),
    )
    save_classifier(classifier, folder, text)
    return accuracy


TEMPLATE = """# The judge

A small CNN that says which of {concepts} concepts a {size} x {size} picture shows. `edgestep distill evaluate` takes
the Fréchet distance, KID, precision, recall and diversity in its {features} features, and concept accuracy by its
logits. It was trained on the emoji generator's own pictures, in {styles} styles, in random poses, slightly blurred,
lightened and noisy; it draws nothing.

{parameters} parameters, fp16. On poses that training never drew: top 1 {top1:.2f} %, top 5 {top5:.2f} %.

Its figures compare generators of these pictures with each other. They are not the Inception FID of papers, and a
generator trained on other pictures needs a judge of its own.

| style | licence of the artwork | npm package version |
|---|---|---|
{packages}
"""
