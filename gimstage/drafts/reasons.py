"""What the numbers of a recipe are for, where there is no more to say of them.

By the last key of their place. Imports nothing of gimstage.
"""

_WHY = {
    # data
    "flip": "half of the crops are mirrored",
    "seed": "another number, another draw",
    "count": "views stored of each sample; more are other crops, and as much more disk",
    "share": "of the training samples, held out; their loss is logged on the way",
    "evaluations": "how often in a training that loss is taken",
    "batches": "of those samples, at most, each time",
    # modules
    "block": "1 × 1, 3 × 3 and 1 × 1 convolutions, four times as wide behind as inside",
    "stem_channels": "channels behind the first convolution",
    "width": "channels inside a block; a quarter of those it hands on",
    "blocks": "residual blocks in a row",
    "channels": "of its output; twice as many learn more, and take twice the disk",
    "stride": "positions of the input from one of the output to the next",
    "kernel": "rows that one output row sees",
    "padding": "zeros on either side, so that rows stay centred",
    "bptt": "gradient through time; false takes less memory",
    # objectives
    "prediction_steps": "how many positions ahead are predicted, each by a map of its own",
    "prediction_gap": "positions passed over, as neighbours overlap",
    "num_negatives": "wrong codes beside the right one",
    "negative_source": "where they are drawn from",
    "exclude_positive": "the right one may be drawn among them, as in the original",
    "projection": "which side each map turns, as in the original",
    "probability_floor": "added before the logarithm, as in the original",
    "window": "positions that predictions are taken from, at most",
    # training
    "learning_rate": "Adam's; lower it if the loss jumps",
    "precision": '"bfloat16" halves the memory of a step on a GPU',
    # output
    "store": '"none" computes them again at every step instead: no disk, more time',
    "encoding": '"uint8" takes half the disk, and is within 1/255 of each channel\'s range',
    "relu": "negative features are dropped, as the next module would",
    "codes": "one mean vector a position beside them, for looking at",
    # probes
    "inputs": "the stages that are probed",
    "weights": '"random" asks the same of stages that were never trained',
    "views": "crops of each sample that the classifier learns from",
    "l2": "strengths to choose from, by what was held out",
    "validation_share": "held out of the labelled training samples for that choice",
    "frames": "that the classifier learns from, at most",
    "pixels": "a row for raw pixels, to compare with",
    "offset": "frames between a label and the code it is told from",
    "coefficients": "a row for these, to compare with",
    "mel_bands": "that they are made from",
    "window_samples": "of sound behind each of them",
    "delta_frames": "over which their differences are taken",
}


def standing(place: str) -> str:
    """What a number is for, by its place in a file; "" where its name says it."""
    return _WHY.get(place.rpartition(".")[2], "")
