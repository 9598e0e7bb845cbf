"""What is valid in a configuration but probably not meant."""

from flywheel_core.config import Config


def notes(config: Config) -> list[str]:
    """Return a sentence for each pair of settings that do not fit together; none while collection is off."""
    collection = config.data_collection
    if not collection.enabled:
        return []
    return [
        f"models.{name}.timeout is {config.models[name].timeout:g} s, data_collection.point_timeout"
        f" {collection.point_timeout:g} s: answers of {name} that users wait for count as its failures in collection;"
        " raise point_timeout too"
        for name in collection.training.candidate_models
        if config.models[name].timeout > collection.point_timeout
    ]
