"""Makes .venv from the pinned requirements: `environment.py ACCELERATOR [test]`. Standard library only.

A lock file serialises concurrent calls. The requirements are copied to .venv/installed last, so that an interrupted
installation is never taken for a complete one.
"""

import fcntl
import shutil
import subprocess
import sys
import venv
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
VENV = ROOT / ".venv"


def is_current(name: str) -> bool:
    stamp = VENV / "installed" / f"{name}.txt"
    return stamp.is_file() and stamp.read_bytes() == (ROOT / "requirements" / f"{name}.txt").read_bytes()


def belongs_here() -> bool:
    root = VENV / "root"
    return root.is_file() and root.read_text().strip() == str(ROOT)


def install(name: str) -> None:
    requirements = ROOT / "requirements" / f"{name}.txt"
    print(
        f"cnn_jax: installing {requirements.relative_to(ROOT)} into .venv",
        file=sys.stderr,
        flush=True,
    )
    pip = [
        str(VENV / "bin" / "python"),
        "-m",
        "pip",
        "--disable-pip-version-check",
        "install",
        "--quiet",
    ]
    subprocess.run([*pip, "--require-hashes", "-r", str(requirements)], check=True, stdout=sys.stderr)
    (VENV / "installed").mkdir(exist_ok=True)
    shutil.copyfile(requirements, VENV / "installed" / f"{name}.txt")


def write_command(path: Path) -> None:
    """The console command, as an installed package has it."""
    path.write_text(f"#!{VENV / 'bin' / 'python'}\nfrom cnn_jax.cli.main import run\n\nrun()\n")
    path.chmod(0o755)


def main(accelerator: str, *others: str) -> None:
    with open(ROOT / ".venv.lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not (belongs_here() and is_current(accelerator)):
            venv.create(VENV, clear=True, with_pip=True)
            site = next((VENV / "lib").glob("python3*/site-packages"))
            (site / "cnn_jax_root.pth").write_text(f"{ROOT}\n")
            write_command(VENV / "bin" / "cnn-jax")
            install(accelerator)
            (VENV / "accelerator").write_text(accelerator)
            (VENV / "root").write_text(f"{ROOT}\n")
        for name in others:
            if not is_current(name):
                install(name)
    # Build the native operations now, so that no run waits for them. If this fails, the command says why and runs do
    # without.
    subprocess.run([str(VENV / "bin" / "python"), "-m", "cnn_jax", "ops"], check=False, stdout=subprocess.DEVNULL)


if __name__ == "__main__":
    try:
        main(*sys.argv[1:])
    except subprocess.CalledProcessError as error:
        sys.exit(
            f"cnn_jax: pip failed with exit code {error.returncode}; its message stands above, .venv is unfinished"
        )
    except KeyboardInterrupt:
        sys.exit(130)
