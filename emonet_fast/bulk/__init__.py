"""`emonet-fast bulk`: data sets of any size in shards, resumable at any moment, on one device or many.

inputs -> plan -> (lock) -> engine: local processes or Ray -> pipeline a shard -> shard file, marker -> summary

Every step writes whole files or none, so whatever is found in an output folder is true. See docs/scaling.md.
"""
