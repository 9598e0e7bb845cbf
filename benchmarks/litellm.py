"""LiteLLM in a virtual environment of its own, beside the project's: its requirements would bend ours.

`python -m benchmarks.litellm` makes it and prints its Python. It is made once, at the exact versions of
`litellm-requirements.txt`, and made anew when that file changes.
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
    """The folder of the environment, made if need be; its programs are in `bin`. Needs the package index once.

    Several processes may ask at once. Raises subprocess.CalledProcessError when pip fails three times.
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
