#!/usr/bin/env bash
# Test on several GPUs of one machine, or in several processes on a CPU:
#   bash tools/dist_test.sh CONFIG CHECKPOINT PROCESSES [flags of tools/test.py]
set -euo pipefail

usage="usage: bash tools/dist_test.sh CONFIG CHECKPOINT PROCESSES [flags]"
config=${1:?$usage}
checkpoint=${2:?$usage}
processes=${3:?$usage}

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
    "$(dirname "$0")/test.py" "$config" "$checkpoint" --launcher pytorch "${@:4}"
