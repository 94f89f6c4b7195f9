"""Speech of a recipe: utterances in LibriSpeech's layout, their speakers and phones.

Shape letters: N utterances, E entries, L labels.
"""

from __future__ import annotations

from functools import cached_property
from pathlib import Path

from gimstage.data.chapters import Chapters
from gimstage.data.demo_speech import write_demo_speech
from gimstage.data.librispeech import SpeechSplit, files, open_split, phone_file
from gimstage.data.planned import PlannedSpeech
from gimstage.data.titles import SYNTHETIC, speech_title
from gimstage.inputs.base import given_folder, looked_at
from gimstage.inputs.sequences import Sequences
from gimstage.progress import Watch
from gimstage.specs import SpeechDataSpec
from gimstage.views import Ints


class Speech(Sequences[SpeechSplit]):
    """The speech data of a recipe.

    Args:
        spec: the recipe's data.toml.
        root: folder with a LibriSpeech tree below it.
        own: whether it is the demo's own, written when it is first worked on.
    """

    spec: SpeechDataSpec
    frame_label = "phone"

    def __init__(self, spec: SpeechDataSpec, root: Path, *, own: bool = False) -> None:
        super().__init__(spec, root, own=own)
        self._files: dict[str, dict[str, Path]] = {}

    @classmethod
    def find(cls, spec: SpeechDataSpec, data: Path | None, runs: Path) -> Speech:
        """The folder `--data` names, or the demo's own below the runs folder.

        Raises:
            DataError: a recipe on real speech without `--data`.
        """
        if spec.demo is None:
            files = "a LibriSpeech tree, SPEAKER/CHAPTER/SPEAKER-CHAPTER-UTTERANCE.flac"
            return cls(spec, given_folder(data, files, "add --data DIR"))
        if data is not None:
            return cls(spec, data)
        name = "demo-speech-{speakers}-{train}-{test}-{seed}".format(**spec.demo.model_dump())
        if spec.demo.seconds:
            name += "-{:g}-{:g}s".format(*spec.demo.seconds)
        return cls(spec, runs / "data" / name, own=True)

    def write(self, watch: Watch) -> None:
        """Write the demo's speech, as much as the recipe says."""
        assert self.spec.demo is not None, "only a demo's own data is not made"
        write_demo_speech(self.root, **self.spec.demo.model_dump())

    def open(self, name: str) -> SpeechSplit:
        """One split, its files' headers read; of what is not made, lengths and labels."""
        demo = self.spec.demo
        if demo is None or self.is_made:
            split = open_split(self.root, name, self.spec.subsets)
        else:
            split = PlannedSpeech(self.root, name, **demo.model_dump())
        return Chapters(split) if self.spec.join else split

    @property
    def title(self) -> str:
        """Synthetic, LibriSpeech by its utterances and speakers, or somebody's own."""
        if self.own:
            return SYNTHETIC["speech"]
        utterances = len(self.train.tree.audio) - self.train.unlisted
        return speech_title(utterances, self.train.num_speakers)

    def files(self, split: str) -> dict[str, Path]:
        """The audio files of a split by utterance, looked for once."""
        if split not in self._files:
            self._files[split] = files(self.root, split, self.spec.subsets)
        return self._files[split]

    def notes(self) -> list[str]:
        """Sound that is not read, and whether that which is holds anything; see `DataSet`."""
        chosen = looked_at(len(self.train))
        silent = sum(all(self.train.silence(index)) for index in chosen)
        what = f"{silent} of {len(chosen)} utterances looked at are silent"
        return self.train.tree.notes() + [f"split '{self.train.name}': {what}"] * (silent > 0)

    @cached_property
    def phone_file(self) -> Path | None:
        """Where the phone labels are; None where the folder has none."""
        return phone_file(self.root, self.spec.subsets)

    @cached_property
    def frame_labels(self) -> dict[int, Ints]:
        """Phone labels by utterance of the split trained on; raises as `SpeechSplit.phones`."""
        return self.train.phones()
