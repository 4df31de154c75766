#!/usr/bin/env bash
# Train on a Slurm cluster:
#   GPUS=8 bash tools/slurm_train.sh PARTITION JOB_NAME CONFIG WORK_DIR [flags of tools/train.py]
set -euo pipefail

usage="usage: bash tools/slurm_train.sh PARTITION JOB_NAME CONFIG WORK_DIR [flags]"
partition=${1:?$usage}
job_name=${2:?$usage}
config=${3:?$usage}
work_dir=${4:?$usage}
gpus=${GPUS:-8}
gpus_per_node=${GPUS_PER_NODE:-$((gpus < 8 ? gpus : 8))}

# SRUN_ARGS is a list of words, so it must stay unquoted
# shellcheck disable=SC2086
srun --partition="$partition" \
    --job-name="$job_name" \
    --gres="gpu:$gpus_per_node" \
    --ntasks="$gpus" \
    --ntasks-per-node="$gpus_per_node" \
    --cpus-per-task="${CPUS_PER_TASK:-5}" \
    --kill-on-bad-exit=1 \
    ${SRUN_ARGS:-} \
    python -u "$(dirname "$0")/train.py" "$config" --work-dir="$work_dir" --launcher slurm "${@:5}"
