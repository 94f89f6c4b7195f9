"""Labels of samples and of frames, as identities and losses ask for them."""

import numpy as np

from gimstage.data.splits import SequenceSplit, Split
from gimstage.errors import DataError
from gimstage.objectives.base import Labels
from gimstage.recipe.chain import Chain
from gimstage.views import Ints


def labels_digest(split: Split, label: str, per: Labels) -> str | None:
    """What a label tells of the samples of a split, or of their frames, as a digest.

    Args:
        split: the split.
        label: the name of the label.
        per: what has labels, a "sample" or a "frame".

    Returns:
        64 hexadecimal digits; None where the split has no such label.
    """
    if per == "sample":
        return split.column(label).sha256(split.ids) if label in split.columns else None
    if isinstance(split, SequenceSplit) and label in split.interval_columns():
        return split.frame_labels(label).sha256(split.ids)
    return None


def refuse_unknown_classes(labels: Ints, chain: Chain, where: str) -> None:
    """Refuse labels that a loss of the last stage has no class for.

    Args:
        labels: int64, counted from 0.
        chain: the stage, last of its chain.
        where: they come from, for the message.

    Raises:
        DataError: names the first.
    """
    classes = min(
        count
        for loss in filter(None, chain.objectives)
        if loss.label_kind and (count := loss.num_classes)
    )
    wrong = np.flatnonzero((labels < 0) | (labels >= classes))
    if len(wrong):
        raise DataError(
            where,
            f"label {labels[wrong[0]]}",
            f"0 to {classes - 1}, the num_classes of stage {chain.last.key}",
            "raise num_classes in its [objective]",
        )
