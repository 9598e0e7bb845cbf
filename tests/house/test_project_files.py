"""The files that set up the project agree with the code and with each other."""

import re
import subprocess
import tomllib
from pathlib import Path

import yaml
from packaging.requirements import Requirement

ROOT = Path(__file__).parents[2]


def tracked_files() -> list[Path]:
    listing = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, check=True).stdout
    return [ROOT / name for name in listing.decode().split("\0") if name]


def dependencies() -> list[str]:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    extras = (one for extra in project["optional-dependencies"].values() for one in extra)
    return [Requirement(one).name for one in (*project["dependencies"], *extras)]


def canonical(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def test_constraints_pin_exact_versions_and_name_no_address() -> None:
    lines = [line for line in (ROOT / "constraints.txt").read_text().splitlines() if line and line[0] != "#"]
    assert all(re.fullmatch(r"[A-Za-z0-9._-]+==[A-Za-z0-9.+!]+", line) for line in lines)
    pinned = {canonical(line.split("==")[0]) for line in lines}
    assert {canonical(name) for name in dependencies()} <= pinned


def test_every_dependency_has_its_reason() -> None:
    decisions = (ROOT / "docs" / "decisions.md").read_text()
    missing = [name for name in dependencies() if f"`{name}`" not in decisions]
    assert not missing


def test_every_make_target_is_listed_by_help() -> None:
    makefile = (ROOT / "Makefile").read_text()
    phony = re.search(r"^\.PHONY: (.*)$", makefile, re.M)
    assert phony
    shown = subprocess.run(["make", "help"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    for target in phony[1].split():
        assert re.search(rf"^{target}\s+\S", shown, re.M), target


def test_the_readme_commands_are_targets() -> None:
    readme = (ROOT / "README.md").read_text()
    makefile = (ROOT / "Makefile").read_text()
    commands = set(re.findall(r"^make ([a-z-]+)", readme, re.M)) | set(re.findall(r"`make ([a-z-]+)", readme))
    assert {"demo", "test"} <= commands
    for command in commands:
        assert re.search(rf"^{command}:", makefile, re.M), command


def anchors(document: Path) -> set[str]:
    """Return the anchors of a document's headings, as GitHub makes them."""
    headings = re.findall(r"^#+ (.+)$", document.read_text(), re.M)
    return {re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-") for heading in headings}


def test_links_in_the_documents_lead_somewhere() -> None:
    for document in [ROOT / "README.md", ROOT / "CHANGELOG.md", *sorted((ROOT / "docs").glob("*.md"))]:
        for target, anchor in re.findall(r"\]\(([^)#]*)(?:#([^)]*))?\)", document.read_text()):
            if "://" in target:
                continue
            page = document.parent / target if target else document
            assert page.exists(), f"{document.name} links to {target}"
            assert not anchor or anchor in anchors(page), f"{document.name} links to {target}#{anchor}"


def test_files_name_no_registry_and_no_path_of_a_machine() -> None:
    registry = re.compile(
        r"https?://[\w.-]*(?:py" r"pi|pythonhos" r"ted|npm" r"js|debian\.o" r"rg|crates\.i" r"o)", re.I
    )
    machine = re.compile(r"(?<![\w.])/(?:wo" r"rk|ro" r"ot|home/\w+)/")
    for file in tracked_files():
        if file.suffix in (".gz", ".parquet", ".png") or not file.is_file():
            continue
        text = file.read_text(encoding="utf-8", errors="replace")
        assert not registry.search(text), file
        assert not machine.search(text), file


def test_compose_runs_commands_that_exist() -> None:
    services = yaml.safe_load((ROOT / "compose.yaml").read_text())["services"]
    assert {"collector", "dagster-webserver", "dagster-daemon"} <= set(services)
    for name, service in services.items():
        assert service["volumes"], name
        program = service["command"][0]
        assert (ROOT / ".venv" / "bin" / program).exists() or program == "flywheel", program


def test_all_services_of_the_composition_read_one_configuration() -> None:
    """Labels need the models' categories, so Dagster must read the same configuration as the gateway."""
    services = yaml.safe_load((ROOT / "compose.yaml").read_text())["services"]
    named = {service.get("environment", {}).get("FLYWHEEL_CONFIG") for service in services.values()}
    assert named == {None}
    assert {service["working_dir"] for service in services.values()} == {"/data"}


def test_every_service_of_the_composition_has_time_to_end() -> None:
    """As under systemd: Dagster's processes need more than the ten seconds after which a container is killed."""
    services = yaml.safe_load((ROOT / "compose.yaml").read_text())["services"]
    stop = re.search(r"^TimeoutStopSec=(\d+)$", (ROOT / "docs" / "operations.md").read_text(), re.M)
    assert stop
    assert {service.get("stop_grace_period") for service in services.values()} == {f"{stop[1]}s"}


def test_both_services_of_dagster_see_the_same_temporary_files() -> None:
    """The UI ends a run through a socket of the daemon's code server in /tmp; the root file systems are read-only."""
    services = yaml.safe_load((ROOT / "compose.yaml").read_text())["services"]
    for name, service in services.items():
        mounted = [volume.partition(":")[0] for volume in service["volumes"] if volume.endswith(":/tmp")]
        if name.startswith("dagster"):
            assert (mounted, service["tmpfs"]) == (["dagster-tmp"], []), name
        else:
            assert (mounted, service["tmpfs"]) == ([], ["/tmp"]), name


def test_the_image_runs_as_a_user_of_its_own() -> None:
    lines = (ROOT / "Dockerfile").read_text().splitlines()
    users = [line.split()[1] for line in lines if line.startswith("USER ")]
    assert users
    assert users[-1] not in ("root", "0")
    assert any(line.startswith("EXPOSE 8080") for line in lines)
    assert any(line.startswith("VOLUME ") for line in lines)
