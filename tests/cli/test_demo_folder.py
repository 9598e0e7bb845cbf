"""Which folder `flywheel demo` works in, and which it refuses."""

from pathlib import Path

import pytest

from flywheel_cli.demo_setup import CONFIG_NAME, prepare
from flywheel_core.errors import UsageError


def test_a_link_to_a_folder_elsewhere_is_followed(tmp_path: Path) -> None:
    """As where the demo's data lie on another disk."""
    target, link = tmp_path / "other disk", tmp_path / "demo"
    target.mkdir()
    link.symlink_to(target)
    for _ in range(2):
        stage = prepare(link, usual_ports=False)
        assert (stage.folder, link.is_symlink()) == (target, True)
        assert (target / CONFIG_NAME).is_file()
        (target / "raw").mkdir()
    assert not (prepare(link, usual_ports=False).folder / "raw").exists()


@pytest.mark.parametrize("text", [b"routing: {timeout: 3}\n", "# 配置\n".encode("gbk")])
def test_a_folder_with_another_configuration_is_left_alone(tmp_path: Path, text: bytes) -> None:
    (tmp_path / CONFIG_NAME).write_bytes(text)
    with pytest.raises(UsageError, match="holds files that no demo wrote"):
        prepare(tmp_path, usual_ports=False)
    assert (tmp_path / CONFIG_NAME).read_bytes() == text
