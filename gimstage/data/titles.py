"""What a data set is called where figures are printed, and how a real one is known.

Published figures compare with runs on the very data set they were taken on, so it has to be known.
Names of folders tell nothing, and digests of the official files would bind this to one packing of
them; counts of samples tell, for nobody's own images come as 100,000, 5,000 and 8,000. A run
records the title, for who reads its manifest has no longer the data at hand.

Imports `kinds`, nothing else of gimstage.
"""

from collections.abc import Mapping

from gimstage.data.kinds import Kind

STL10, LIBRISPEECH = "STL-10", "LibriSpeech"
SYNTHETIC: Mapping[Kind, str] = {
    "images": "synthetic images (demo)",
    "speech": "synthetic speech (demo)",
}
OWN: Mapping[Kind, str] = {"images": "own images", "speech": "own speech"}

STL10_COUNTS = {"unlabeled": 100_000, "train": 5_000, "test": 8_000}
# train-clean-100: 28,539 utterances of 251 speakers; the lists of CPC's authors leave out a few.
LIBRISPEECH_SPEAKERS = 251
LIBRISPEECH_UTTERANCES = range(28_000, 28_540)


def images_title(counts: Mapping[str, int]) -> str:
    """The title of images by the sizes of their splits; those that are not there left out."""
    known = {name: STL10_COUNTS[name] for name in counts if name in STL10_COUNTS}
    return STL10 if known and known == dict(counts) else OWN["images"]


def speech_title(utterances: int, speakers: int) -> str:
    """The title of speech by its utterances, of both splits, and the speakers in them."""
    real = speakers == LIBRISPEECH_SPEAKERS and utterances in LIBRISPEECH_UTTERANCES
    return LIBRISPEECH if real else OWN["speech"]
