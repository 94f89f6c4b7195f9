"""What tests of several rooms share.

homes       folders in which a small recipe runs, and what tests ask of them
recipes     recipes that train the modules of a small one together, written for a test
campaigns   two small recipes, one upon the other, run with two seeds
commands    commands of gimstage, run in this process
processes   waiting for another process without a clock
rows        the rows that the small recipe of speech stores
sounds      utterances in LibriSpeech's layout
stores      feature stores of small sizes
golden      what golden fixtures mean in our words
manifests   runs written by hand, for the report
paper       every run of the paper's tables, written by hand
"""
