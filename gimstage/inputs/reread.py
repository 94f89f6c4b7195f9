"""Whether data is what its fingerprint says: read, compared, and looked at again afterwards.

A fingerprint is told from sizes and times of files, where those were read once before. Bytes that
changed under them, on a failing disk or in a careless copy, are found here.
"""

from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from gimstage.data.digests import combined, read_digest, unread_bytes
from gimstage.errors import ChangedDataError
from gimstage.errors.commands import pasted, removing
from gimstage.inputs.base import DataSet
from gimstage.objectives.base import Labels
from gimstage.progress import Watch, counted_bytes
from gimstage.runs.manifest import Manifest, ProbeManifest
from gimstage.specs import PROBE_SPECS

PHONES = "phones"  # what the labels of phones are called beside splits


@dataclass(frozen=True)
class Reread:
    """The files that a stage or a probe reads, for as long as it is worked on.

    Args:
        data: the data set.
        splits: the names of the splits that are read.
        phones: whether the labels of phones are.
        runs: the runs folder.
    """

    data: DataSet
    splits: tuple[str, ...]
    phones: bool
    runs: Path

    @property
    def _paths(self) -> list[Path]:
        paths = [path for split in self.splits for path in self.data.files(split).values()]
        return paths + [path for path in [self.data.phone_file] if path and self.phones]

    def compare(self, watch: Watch, task: str) -> None:
        """Read every byte, unless this process has, and compare it with the fingerprint.

        Args:
            watch: hears of progress, asks to stop.
            task: what this is called there.

        Raises:
            ChangedDataError: a file holds other bytes than the fingerprint was made of.
            Interrupted: a stop was asked for.
        """
        heard = counted_bytes(watch, task, unread_bytes(self._paths))
        digests = self.data.digests(self.runs)
        with _made_again(self.data):
            digests.compare(self._paths, heard)
            _refuse_damaged(self.data)
        digests.keep()

    def recheck(self) -> None:
        """Read those files again that were touched since; raises as `compare`."""
        with _made_again(self.data):
            self.data.digests(self.runs).compare(self._paths)


def _refuse_damaged(data: DataSet) -> None:
    """Refuse what is other than the tool wrote it, however it came to be so.

    Raises:
        ChangedDataError: names the file.
    """
    for path, expected in data.written_sha256.items():
        if (digest := read_digest(path)) != expected:
            found = f"its bytes have the SHA-256 {digest[:12]}…"
            was, cure = f"{expected[:12]}…, as when it was written", "restore it from its source"
            raise ChangedDataError(str(path), found, was, cure)


@contextmanager
def _made_again(data: DataSet) -> Iterator[None]:
    """Inside, data that was made below the runs folder has a cure of its own."""
    try:
        yield
    except ChangedDataError as error:
        if data.remade is None:
            raise
        folder, verb = data.remade
        cure = f"run {pasted(*removing(folder))}: the next command {verb} it again"
        raise ChangedDataError(error.where, error.found, error.expected, cure) from error


def verify_data(
    data: DataSet, records: Iterable[Manifest | ProbeManifest], *, runs: Path, watch: Watch
) -> None:
    """Compare every byte of the data with what finished stages and probes say they were made of.

    Nothing that is remembered of the files is trusted. Memory does not grow with the data, and a
    file is read once, however many records are about it.

    Args:
        data: the data set, as the recipe finds it now.
        records: the manifests, of whatever state.
        runs: the runs folder, where it is remembered what single files held.
        watch: hears of progress under the task "data verify", asks to stop.

    Raises:
        ChangedDataError: the data is other than a record says; names the file where that is known.
        DataError: a file is missing or unreadable.
        Interrupted: a stop was asked for.
    """
    records = list(records)
    named = [(record, *pair) for record in records for pair in _named(record)]
    parts = {name: _files(data, name) for _, name, _ in named}
    paths = {path for files in parts.values() for path in files.values()}
    heard = counted_bytes(watch, "data verify", unread_bytes(paths))
    digests = {path: read_digest(path, heard) for path in sorted(paths)}
    for record, name, expected in named:
        own = {key: digests[path] for key, path in parts[name].items()}
        read = own.get(PHONES, "") if name == PHONES else combined(own | data.told(name))
        if read != expected:
            with _made_again(data):
                # Names a file, if what it held is known.
                data.digests(runs).compare(parts[name].values())
                raise _other(data, _title(name), record, read=read, expected=expected)

    if named:
        with _made_again(data):
            _refuse_damaged(data)
    _verify_labels(data, records)


def _verify_labels(data: DataSet, records: Iterable[Manifest | ProbeManifest]) -> None:
    """Compare labels that no file of a split holds; raises as `verify_data`."""
    for record in records:
        for label, per, split, expected in _labels_named(data, record):
            read = data.labels_sha256(label, per, split) or ""
            if read != expected:
                where = f"label '{label}' of split '{split}'"
                raise _other(data, where, record, read=read, expected=expected)


def _labels_named(
    data: DataSet, record: Manifest | ProbeManifest
) -> Iterator[tuple[str, Labels, str, str]]:
    """Which labels of which splits a record names, and the digest it says those have."""
    digests = record.identity.get("labels_sha256", {})
    if isinstance(record, Manifest):
        for per, sha in digests.items():
            yield data.spec.label_column or "", per, record.data["train_split"], sha
        return
    spec = PROBE_SPECS.get(record.identity["probe"]["task"])
    for split, sha in digests.items():
        if spec is not None:
            label = record.identity["probe"].get("label") or spec.label
            yield label, spec.per, split, sha


def _other(
    data: DataSet, what: str, record: Manifest | ProbeManifest, *, read: str, expected: str
) -> ChangedDataError:
    """What to say of data that is not what a record was made of."""
    key = record.stage if isinstance(record, Manifest) else record.probe
    return ChangedDataError(
        f"{data.root}, {what}",
        f"SHA-256 {read[:12]}…" if read else "missing",
        f"{expected[:12]}…, which {key} was made of",
        "restore the data from its source, or name its folder with --data",
    )


def _named(record: Manifest | ProbeManifest) -> Iterator[tuple[str, str]]:
    """What of the data a record names, and the digest it says that has."""
    if isinstance(record, ProbeManifest):
        yield from ((name, sha) for name, sha in record.data_sha256.items() if sha)
        return
    yield record.data["train_split"], record.data_sha256
    if sha := record.identity.get("phones_sha256"):
        yield PHONES, sha


def _files(data: DataSet, name: str) -> Mapping[str, Path]:
    if name == PHONES:
        return {PHONES: data.phone_file} if data.phone_file else {}
    return data.files(name)


def _title(name: str) -> str:
    return "labels of phones" if name == PHONES else f"split '{name}'"
