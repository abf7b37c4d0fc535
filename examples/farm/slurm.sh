#!/bin/bash
# Swap a clip on a Slurm cluster: plan once, paint the segments as an array job, join.
#
#     ./slurm.sh talk.mp4 new.mp4 --preset brand_avatar
#
# All paths lie on a file system that every node sees. Started again after whatever has gone wrong,
# it goes on: what is planned and painted is not done again.
set -euo pipefail

input=${1:?the video: slurm.sh IN OUT [options of fapvideo plan]}
output=${2:?the video to be: slurm.sh IN OUT [options of fapvideo plan]}
shift 2
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
job=$output.job

# On the kind of node that paints: other devices and number formats make other pixels.
srun --gres=gpu:1 --cpus-per-task=4 --mem=8G \
    fapvideo plan "$input" -o "$job" --container ".${output##*.}" "$@"

# A second and a third time for what nodes have lost.
for _ in 1 2 3; do
    missing=$(fapvideo jobs "$job")
    [[ -n $missing ]] || break
    sbatch --wait "$missing" "$here/segment.sh" "$job" || echo "some segments are to be done again" >&2
done

fapvideo join "$job" -o "$output"
