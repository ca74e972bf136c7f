# Sourced by scripts/run and scripts/test: sets $root and brings $root/.venv up to date. When nothing has changed
# this starts no process but two file comparisons; otherwise scripts/environment.py does the work under a lock.
root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)

find_python() {
  local candidate
  # The newest that runs (a shim of pyenv that only prints an error does not) and can make environments.
  for candidate in ${CNN_JAX_PYTHON:-python3.14 python3.13 python3.12 python3.11 python3 python}; do
    if "$candidate" -c 'import ensurepip, sys, venv; sys.exit(not (3, 11) <= sys.version_info < (3, 15))' 2>/dev/null; then
      echo "$candidate"
      return
    fi
  done
  echo "cnn_jax: no Python 3.11 to 3.14 on PATH that works; install one and call this script again" >&2
  return 2
}

accelerator() { # asked for, else what the environment was made for, else what the machine has
  local installed=
  [ -f "$root/.venv/accelerator" ] && installed=$(<"$root/.venv/accelerator")
  if [ -n "${CNN_JAX_ACCELERATOR:-}" ]; then echo "$CNN_JAX_ACCELERATOR"
  elif [ -n "$installed" ]; then echo "$installed"
  elif nvidia-smi -L >/dev/null 2>&1; then echo cuda
  else echo cpu
  fi
}

ensure_environment() { # ensure_environment [test]
  local want python
  want=$(accelerator)
  if [ ! -f "$root/requirements/$want.txt" ] || [ "$want" = test ]; then
    echo "cnn_jax: CNN_JAX_ACCELERATOR=$want is unknown; use cpu, cuda or tpu" >&2
    return 2
  fi
  for name in "$want" "$@"; do
    if ! cmp -s "$root/requirements/$name.txt" "$root/.venv/installed/$name.txt" ||
      [ "$root" != "$(cat "$root/.venv/root" 2>/dev/null)" ]; then
      python=$(find_python) || return
      "$python" "$root/scripts/environment.py" "$want" "$@" || return
      return 0
    fi
  done
}
