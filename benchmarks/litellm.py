"""LiteLLM in its own virtual environment, because its requirements conflict with the project's.

`python -m benchmarks.litellm` creates it and prints the path of its Python. It is created once, with the
exact versions in `litellm-requirements.txt`, and again when that file changes.
"""

import fcntl
import hashlib
import shutil
import subprocess
import sys
import venv
from pathlib import Path

REQUIREMENTS = Path(__file__).with_name("litellm-requirements.txt")
ATTEMPTS = 3


def environment() -> Path:
    """Return the environment's folder, creating it if necessary; its programs are in `bin`.

    Creating it needs the package index. Several processes may call this at once. Raises
    subprocess.CalledProcessError when pip fails three times.
    """
    folder = Path(sys.prefix) / "litellm"
    wanted = hashlib.sha256(REQUIREMENTS.read_bytes()).hexdigest()
    stamp = folder / ".installed"
    with (Path(sys.prefix) / ".litellm.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not stamp.is_file() or stamp.read_text() != wanted:
            shutil.rmtree(folder, ignore_errors=True)
            venv.create(folder, with_pip=True)
            _install(folder)
            stamp.write_text(wanted)
    return folder


def _install(folder: Path) -> None:
    command = [str(folder / "bin" / "python"), "-m", "pip", "install", "--quiet", "--no-deps", "--no-input"]
    for attempt in range(1, ATTEMPTS + 1):
        done = subprocess.run([*command, "-r", str(REQUIREMENTS)], capture_output=True, text=True)
        if done.returncode == 0:
            return
        print(f"attempt {attempt} of {ATTEMPTS} failed:\n{done.stderr[-2_000:]}", file=sys.stderr)
    done.check_returncode()


if __name__ == "__main__":
    print(environment() / "bin" / "python")
