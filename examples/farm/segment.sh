#!/bin/bash
# One segment of a job, as a task of a Slurm array. The index is SLURM_ARRAY_TASK_ID.
#
#     sbatch --wait "$(fapvideo jobs talk.job)" segment.sh talk.job
#
# Nodes without a GPU: leave out --gres, here and in slurm.sh.
#SBATCH --job-name=fapvideo
#SBATCH --gres=gpu:1
#SBATCH --cpus-per-task=4
#SBATCH --mem=8G
#SBATCH --time=01:00:00
#SBATCH --requeue
#SBATCH --output=fapvideo-%A_%a.log
set -euo pipefail

exec fapvideo segment "${1:?the folder of a job: segment.sh JOB}"
