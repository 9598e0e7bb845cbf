"""Router versions on disk, whole or damaged, for tests of code that does not look inside them."""

import json
from pathlib import Path

from flywheel_core.errors import RouterError
from flywheel_core.lake.atomic import publish_folder, sha256_of
from flywheel_core.lake.layout import Layout
from flywheel_core.learn.champion import MANIFEST, Champion
from flywheel_core.learn.registry import Registry

SINCE = 1767744000.0


def publish(layout: Layout, version: str, content: bytes = b"parameters") -> Path:
    """Publish a version with one file, and a manifest that holds the file's hash."""

    def fill(folder: Path) -> None:
        (folder / "parameters").write_bytes(content)
        manifest = {"version": version, "sha256": sha256_of(folder / "parameters")}
        (folder / MANIFEST).write_text(json.dumps(manifest))

    publish_folder(layout.router(version), fill)
    return layout.router(version)


def load(folder: Path) -> str:
    """Return the version of a folder that is whole. Raises RouterError when it is damaged."""
    try:
        manifest = json.loads((folder / MANIFEST).read_bytes())
    except ValueError:
        raise RouterError(f"{folder / MANIFEST} is damaged", code="router_damaged") from None
    if not (folder / "parameters").is_file() or sha256_of(folder / "parameters") != manifest["sha256"]:
        raise RouterError(f"{folder / 'parameters'} is damaged", code="router_damaged")
    version: str = manifest["version"]
    return version


def registry(root: Path, *versions: str) -> Registry:
    """Return a registry with these versions on disk, none of them in service."""
    layout = Layout(root)
    for version in versions:
        publish(layout, version)
    return Registry(layout, load)


def promote(found: Registry, version: str, expected: int | None = None) -> Champion:
    """Promote a version that is better on questions until `SINCE`."""
    return found.promote(
        version, kind="promoted", by="tests", reason="better", since=SINCE, expected=expected
    )
