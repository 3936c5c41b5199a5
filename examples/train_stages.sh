#!/bin/bash
# Pre-train heads on EmoNet-Face Big, refine them on Binary, prove them on HQ. The paper's stages; its recipe is
# unpublished, so layout, losses and rates are those of emonet-fast (docs/training.md).
#
# Each data set is its folder of parquet shards, and its embeddings, made once by the same checkpoint:
#
#   emonet-fast score big/*.parquet --checkpoint large --embeddings --output big-embeddings.parquet
#   examples/train_stages.sh large heads small big big-embeddings.parquet binary binary-embeddings.parquet \
#       hq hq-embeddings.parquet
set -euo pipefail

checkpoint=$1 output=$2 layout=$3
big=$4 big_embeddings=$5
binary=$6 binary_embeddings=$7
hq=$8 hq_embeddings=$9
mkdir -p "$output"

# 1. Intensities 0..7 that a machine gave.
emonet-fast train --embeddings "$big_embeddings" --targets "$big" --layout "$layout" --output "$output/big"

# 2. What share of people said yes. The scores stay on the scale 0..7.
emonet-fast train --embeddings "$binary_embeddings" --targets "$binary" --init "$output/big" --loss bce \
    --checkpoint "$checkpoint" --output "$output/refined"

# 3. Beside experts, whose ratings nothing was learnt from.
emonet-fast score "$hq_embeddings" --checkpoint "$output/refined/packed.safetensors" --output "$output/hq.parquet"
emonet-fast evaluate hq --predictions "$output/hq.parquet" --dataset "$hq" --json "$output/hq.json"
