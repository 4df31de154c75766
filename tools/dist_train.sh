#!/usr/bin/env bash
# Train on several GPUs of one machine, or in several processes on a CPU:
#   bash tools/dist_train.sh CONFIG PROCESSES [flags of tools/train.py]
set -euo pipefail

usage="usage: bash tools/dist_train.sh CONFIG PROCESSES [flags]"
config=${1:?$usage}
processes=${2:?$usage}

# on one machine a free port is found, so that several jobs can run there
rendezvous=(--standalone --local_addr=127.0.0.1)
if [[ -n "${PORT:-}" || "${NNODES:-1}" != 1 ]]; then
    rendezvous=(
        --nnodes="${NNODES:-1}"
        --node_rank="${NODE_RANK:-0}"
        --master_addr="${MASTER_ADDR:-127.0.0.1}"
        --master_port="${PORT:-29500}"
    )
fi

python -m mmbss.engine.launch "${rendezvous[@]}" \
    --nproc_per_node="$processes" \
    "$(dirname "$0")/train.py" "$config" --launcher pytorch "${@:3}"
