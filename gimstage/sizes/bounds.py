"""How large a number may be that a recipe or an option gives: one place for all of them.

A bound stands far above what anybody has needed, and far below what would fill a machine before
it could say why; it catches slips of the hand, not small machines. Plans and budgets do the rest.
That numbers are finite is the tables' own rule. This file imports nothing of gimstage.
"""

from typing import Annotated

from annotated_types import Ge, Gt, Le, Lt

MOST = 1 << 16  # channels of a layer, samples of a batch, pixels of a side, views of a sample
MOST_SEED = 2**63 - 1  # of torch's generators
MOST_BLOCKS = 400  # of one module; the deepest residual network published has 333, of 3 layers
MOST_STEPS = 10**9  # of a training: thirty years of thirty milliseconds
MOST_EPOCHS = 10**6
MOST_FRAMES = 24 * 60 * 60 * 100  # of a crop: a day in frames of 10 ms
MOST_RATE = 10**6  # of sound in Hz; bats are recorded at half of it
MOST_IMAGES = 10**6  # of a synthetic split: 28 GB, ten times STL-10
MOST_VOICES = 10_000  # synthetic speakers, or utterances of one; 2,484 speak in LibriSpeech
MOST_UTTERANCES = 100_000  # of all synthetic speakers: 11 GB, three times train-clean-100
MOST_STORED = 1_000  # stored views of a sample
MOST_BYTES = 10**18  # of a disk or of GPU memory

Positive = Annotated[int, Gt(0), Le(MOST)]
ChannelCount = Annotated[int, Gt(0), Le(1 << 12)]  # of raw data: a satellite's bands, electrodes
Natural = Annotated[int, Ge(0), Le(MOST)]
Kernel = Annotated[int, Gt(0), Le(1 << 14)]  # a second of samples; strides too
Padding = Annotated[int, Ge(0), Le(1 << 14)]
Blocks = Annotated[int, Gt(0), Le(MOST_BLOCKS)]
Seed = Annotated[int, Ge(0), Le(MOST_SEED)]
Steps = Annotated[int, Gt(0), Le(MOST_STEPS)]
Epochs = Annotated[int, Gt(0), Le(MOST_EPOCHS)]
Frames = Annotated[int, Gt(0), Le(MOST_FRAMES)]
Rate = Annotated[int, Gt(0), Le(MOST_RATE)]
Images = Annotated[int, Gt(0), Le(MOST_IMAGES)]
Seconds = Annotated[float, Ge(1), Le(60)]  # of a synthetic utterance
Voices = Annotated[int, Gt(0), Le(MOST_VOICES)]
StoredCount = Annotated[int, Gt(0), Le(MOST_STORED)]

Share = Annotated[float, Gt(0), Lt(1)]
DropoutShare = Annotated[float, Ge(0), Lt(1)]
Level = Annotated[float, Ge(-1e6), Le(1e6)]  # a mean of what raw data may hold
Spread = Annotated[float, Gt(0), Le(1e6)]  # a standard deviation of the same
LearningRate = Annotated[float, Gt(0), Le(1e3)]
Strength = Annotated[float, Gt(0), Le(1e9)]  # of L2
