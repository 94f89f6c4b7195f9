"""Recipes that fit some data: what `gimstage init` writes.

page       a TOML file in which every number has its reason beside it
reasons    what numbers are for of which there is no more to say
facts      what some data holds, as far as a recipe depends on it
choices    what a source must be told before it can be asked: sizes, channels, rates
arrays     the same of arrays: which one, its axes, its frames
measure    splits, labels, mean and deviation
look       a folder, its source, and its facts
images     crop, patch and stride for images of a side
sequences  crops and convolutions for sequences of a rate and of lengths
draft      a base recipe's files made to fit
writing    a folder with them, once they are known to hold together
"""

from gimstage.drafts.writing import write_draft

__all__ = ["write_draft"]
