#!/bin/bash
#SBATCH --job-name=emonet-fast
#SBATCH --array=0-15
#SBATCH --gpus=1
#SBATCH --cpus-per-task=16
#SBATCH --time=04:00:00
#SBATCH --requeue
#
# Score a data set by a SLURM array: each job takes the shards whose number fits its own, and all write to one folder.
# A job that is preempted or killed is queued again and goes on where it was. Pack the checkpoint once before:
#
#   emonet-fast pack --checkpoint large --output large.safetensors
#   sbatch examples/bulk_slurm.sh large.safetensors /scratch/scores /data/big/*.parquet
#   emonet-fast report /scratch/scores        # when all jobs are done
set -euo pipefail

checkpoint=$1
output=$2
shift 2

# Without SLURM this is the only part of one.
part=${SLURM_ARRAY_TASK_ID:-0}/${SLURM_ARRAY_TASK_COUNT:-1}

exec emonet-fast bulk "$@" --checkpoint "$checkpoint" --output "$output" --shard "$part"
