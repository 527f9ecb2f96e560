"""An offline pack: a folder with models and data sets that one copies to a computer without a network.

In it every model is an ordinary model folder, so it can also be used where it lies. ``lowrank-pack.json`` says what
belongs to each and what every file's content must be; a model stands in there only when it is whole.
"""
