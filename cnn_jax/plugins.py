"""User-defined parts from a file or a module, which is loaded once and identified by the hash of its source."""

import hashlib
import importlib
import importlib.util
import sys
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from cnn_jax.errors import RequestError, reason

trusted = False  # whether copies in the folders of runs may be executed: --trust-plugins


@dataclass(frozen=True)
class Plugin:
    """A loaded plugin: the name it was requested by, its file, the sha256 of its source."""

    name: str
    path: Path
    sha256: str


LOADED: dict[str, Plugin] = {}  # by sha256


def known(origins: Iterable[str]) -> dict[str, Path]:
    """The files that registered parts in this process, by the sha256 of their content: plugins, and the `origins` of
    parts that a program registered itself."""
    files = {plugin.sha256: plugin.path for plugin in LOADED.values()}
    for path in map(Path, origins):
        if path.is_file() and path not in files.values():
            files[hashlib.sha256(path.read_bytes()).hexdigest()] = path
    return files


def load(name: str) -> Plugin:
    """Executes a file `NAME.py` or imports a module, once per process, which registers its parts. Raises RequestError
    if it is missing or fails, with the line of the failure."""
    if not name.endswith(".py"):
        try:
            module = importlib.import_module(name)
        except Exception as error:  # of any type: the code is not ours
            raise RequestError(f"plugin {name} cannot be imported: {reason(error)}") from error
        if not isinstance(module.__file__, str):
            raise RequestError(f"plugin {name} has no source file")
        return _plugin(name, Path(module.__file__))
    path = Path(name).resolve()
    if not path.is_file():
        raise RequestError(f"plugin {name} does not exist")
    plugin = _plugin(name, path, add=False)
    if plugin.sha256 in LOADED:
        return LOADED[plugin.sha256]
    module_name = f"cnn_jax_plugin_{''.join(c if c.isalnum() else '_' for c in path.stem)}"
    spec = importlib.util.spec_from_file_location(module_name, path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[module_name] = module
    try:
        spec.loader.exec_module(module)
    except Exception as error:  # of any type: the code is not ours
        sys.modules.pop(module_name, None)
        trace, line = error.__traceback__, 0
        while trace is not None:
            line = trace.tb_lineno if trace.tb_frame.f_code.co_filename == str(path) else line
            trace = trace.tb_next
        raise RequestError(f"plugin {name}, line {line}: {reason(error)}") from error
    LOADED[plugin.sha256] = plugin
    return plugin


def _plugin(name: str, path: Path, add: bool = True) -> Plugin:
    plugin = Plugin(name, path, hashlib.sha256(path.read_bytes()).hexdigest())
    if add:
        LOADED[plugin.sha256] = plugin
    return plugin
