"""Parts from outside the package: `kind = "module:Class"`.

The module is looked for beside the recipe's TOML files first, then on the import path. Its text is
no part of any fingerprint; the `algorithm` on the class is.
"""

import importlib
import importlib.util
import inspect
import sys
from collections.abc import Iterator, Mapping, Set
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from types import ModuleType
from typing import Any, get_args

from gimstage.errors import either
from gimstage.modules import EncoderModule, MapModule, SequenceModule
from gimstage.modules.base import CodeLayout, Reads
from gimstage.objectives.base import Labels
from gimstage.specs.base import KindError


@dataclass(frozen=True)
class Reading:
    """Whose tables are read, the context of a validation.

    Args:
        folder: the folder of the recipe, where its own modules lie; None where that is not known.
        trust: whether modules may be imported, which runs what is written in them.
        folders: the folders of kinds whose modules were found in them before.
    """

    folder: Path | None
    trust: bool
    folders: Mapping[str, str] = field(default_factory=dict)

    def beside(self, kind: str) -> Path | None:
        """The folder to look for a kind's module in, before the import path."""
        return Path(self.folders[kind]) if kind in self.folders else self.folder


UNTRUSTED = Reading(None, trust=False)


def module_file(name: str, folder: Path | None) -> Path | None:
    """The file of a module beside a recipe, nothing imported; None where there is none."""
    if folder is None:
        return None
    place = folder.joinpath(*name.split("."))
    candidates = (place.with_name(place.name + ".py"), place / "__init__.py")
    return next((path for path in candidates if path.is_file()), None)


def folder_of(kind: str, folder: Path | None) -> Path | None:
    """The folder beside which a kind's module lies; None for built-in kinds and the import path."""
    name, colon, _ = kind.partition(":")
    return folder if colon and module_file(name, folder) else None


def origin(kind: str, folder: Path | None) -> str:
    """Where the module of "module:Class" would be imported from, in words; imports nothing."""
    name = kind.partition(":")[0]
    path = module_file(name, folder)
    return str(path) if path else "the import path"


def outside_class(kind: str, reading: Reading, base: type[Any]) -> type[Any]:
    """The class that "module:Class" names, imported.

    Args:
        kind: the two names.
        reading: where to look; must be trusted.
        base: what the class must be derived from.

    Raises:
        KindError: there is no such module or class, or it cannot be used.
    """
    name, _, word = kind.partition(":")
    if not all(each.isidentifier() for each in [*name.split("."), word]):
        raise KindError(f'"{kind}"', '"module:Class", the names of a module and of a class in it')
    module = _imported(name, kind, reading.beside(kind))
    part = getattr(module, word, None)
    if part is None:
        classes = [n for n, v in vars(module).items() if inspect.isclass(v) and issubclass(v, base)]
        have = f"it has {', '.join(classes)}" if classes else f"it has no {base.__name__}"
        raise KindError(f'"{kind}", but {name} has no {word}', f"an {base.__name__} in it", have)
    _check_class(part, kind, base)
    made: type[Any] = part
    return made


def _check_class(part: Any, kind: str, base: type[Any]) -> None:
    if not (inspect.isclass(part) and issubclass(part, base)):
        expected = f"a class made from gimstage.{base.__name__}"
        raise KindError(f'"{kind}", which is no {base.__name__}', expected)
    if missing := sorted(getattr(part, "__abstractmethods__", ())):
        raise KindError(
            f'"{kind}" without {", ".join(missing)}', f"all that an {base.__name__} defines"
        )
    if type(vars(part).get("algorithm")) is not int:
        raise KindError(
            f'"{kind}" without a version of its numbers',
            "a whole number called algorithm on the class",
            f"write algorithm = 1 into {part.__name__}, and raise it when its numbers change",
        )
    if issubclass(part, EncoderModule):
        _check_reads(part, kind)
        _check_words(part, kind, "code_layout", get_args(CodeLayout))
    else:
        _check_words(part, kind, "code_layouts", get_args(CodeLayout))
        _check_words(part, kind, "label_kind", (None, *get_args(Labels)))


def _check_words(part: Any, kind: str, name: str, known: tuple[str | None, ...]) -> None:
    """Refuse a word on a class, or one of several, that says nothing."""
    value = getattr(part, name)
    if not all(word in known for word in (value if isinstance(value, Set | tuple) else [value])):
        expected = f"{either(filter(None, known))} on the class"
        raise KindError(f'"{kind}" with {name} = {value!r}', expected)


def _check_reads(part: type[EncoderModule], kind: str) -> None:
    reads, known = getattr(part, "reads", None), get_args(Reads)
    if reads not in known:
        found = "without a word of what it reads" if reads is None else f'with reads = "{reads}"'
        raise KindError(f'"{kind}" {found}', f"reads = {either(known)} on the class")
    if reads == "sequence" and not issubclass(part, SequenceModule):
        found = f'"{kind}", which reads sequences and is no SequenceModule'
        raise KindError(found, "a class made from gimstage.SequenceModule")
    if reads == "map" and not issubclass(part, MapModule):
        found = f'"{kind}", which reads maps and is no MapModule'
        raise KindError(found, "a class made from gimstage.MapModule")


_loaded: dict[tuple[Path, tuple[tuple[int, int], ...]], ModuleType] = {}


def _imported(name: str, kind: str, folder: Path | None) -> ModuleType:
    path = module_file(name, folder)
    try:
        return _from_file(name, path, folder) if path and folder else importlib.import_module(name)
    except ModuleNotFoundError as error:
        if path is None and error.name == name.split(".")[0]:
            beside = (
                f"a file {name.replace('.', '/')}.py in {folder}" if folder else f"a module {name}"
            )
            raise KindError(
                f'"{kind}", but there is no module {name}',
                f"{beside}, or one on the import path",
                "write it there, or install the package that has it",
            ) from error
        raise _fails(kind, path, error) from error
    except (Exception, SystemExit) as error:  # whatever a stranger's file may do
        raise _fails(kind, path, error) from error


def _fails(kind: str, path: Path | None, error: BaseException) -> KindError:
    name = kind.partition(":")[0]
    run = f"python {path}" if path else f"python -c 'import {name}'"
    return KindError(
        f'"{kind}", whose module fails on import: {type(error).__name__}: {error}',
        "a module that can be imported",
        f"run `{run}` to see where",
    )


def _from_file(name: str, path: Path, folder: Path) -> ModuleType:
    """A module beside a recipe, under a name that two recipes never share.

    It is loaded again if it, or a file beside it, which it may import, has changed.
    """
    states = [beside.stat() for beside in sorted(path.parent.glob("*.py"))]
    key = path.resolve(), tuple((state.st_mtime_ns, state.st_size) for state in states)
    if key not in _loaded:
        unique = f"_gimstage_outside_{len(_loaded)}_{name.replace('.', '_')}"
        spec = importlib.util.spec_from_file_location(unique, path)
        assert spec is not None
        assert spec.loader is not None
        module = importlib.util.module_from_spec(spec)
        sys.modules[unique] = module  # which types named in annotations are looked up in
        with _importable(folder):
            try:
                spec.loader.exec_module(module)
            except BaseException:
                del sys.modules[unique]
                raise
        _loaded[key] = module
    return _loaded[key]


@contextmanager
def _importable(folder: Path) -> Iterator[None]:
    """Lets a recipe's module import others beside it, while it is itself imported.

    Afterwards nobody else finds those under their names, which another recipe's may have too.
    """
    before = set(sys.modules)
    importlib.invalidate_caches()  # a file may have come since anybody last looked there
    sys.path.insert(0, str(folder))
    writes_none, sys.dont_write_bytecode = sys.dont_write_bytecode, True  # in a folder of others
    try:
        yield
    finally:
        sys.path.remove(str(folder))
        sys.dont_write_bytecode = writes_none
        for name in sys.modules.keys() - before:
            if module_file(name.partition(".")[0], folder):
                del sys.modules[name]
