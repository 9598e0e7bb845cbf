"""Compare what two versions of a router choose on the same questions: part of `flywheel router diff`."""

from collections import Counter
from collections.abc import Mapping
from datetime import date
from typing import Any

import msgspec

from flywheel_cli.options import Settings
from flywheel_core.learn.champion import MANIFEST, version_folder
from flywheel_core.learn.craft import trained_craft
from flywheel_core.learn.evidence import fresh_questions, gains_of
from flywheel_core.learn.excerpts import texts_and_groups


def compare(settings: Settings, old: str, new: str) -> dict[str, Any]:
    """Compare manifests, chosen models and, on the newest test questions, the mean gain of `new`."""
    layout, craft = settings.layout, trained_craft()
    folders = [version_folder(layout, version) for version in (old, new)]
    routers = [craft.load(folder) for folder in folders]
    manifests = [flattened(msgspec.json.decode((folder / MANIFEST).read_bytes())) for folder in folders]
    questions = fresh_questions(layout, None, date.max, settings.config.promotion)
    texts, _ = texts_and_groups(questions)
    chosen = [[choice.model for choice in router.decide_all(texts)] for router in routers]
    counts = [Counter(models) for models in chosen]
    asked = {*counts[0], *counts[1], *settings.config.models}
    gains = gains_of(questions, routers[0], routers[1], settings.config.learning, asked)
    names = dict.fromkeys([*manifests[0], *manifests[1]])
    return {
        "old": old,
        "new": new,
        "fields": [
            (name, manifests[0].get(name), manifests[1].get(name))
            for name in names
            if manifests[0].get(name) != manifests[1].get(name)
        ],
        "models": [(model, counts[0][model], counts[1][model]) for model in sorted({*counts[0], *counts[1]})],
        "questions": len(texts),
        "different": sum(one != other for one, other in zip(*chosen, strict=True)),
        "judged": len(gains.gains),
        "mean_gain": float(gains.shares().mean()) if len(gains.gains) else None,
    }


def flattened(manifest: Mapping[str, Any]) -> dict[str, Any]:
    """Flatten a manifest, nested fields as `part.field`: each is short enough to show, and to compare."""
    fields: dict[str, Any] = {}
    for name, value in manifest.items():
        if isinstance(value, Mapping):
            fields |= {f"{name}.{inner}": one for inner, one in value.items()}
        else:
            fields[name] = value
    return fields
