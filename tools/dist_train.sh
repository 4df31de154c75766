#!/usr/bin/env bash
# Train in several processes, as mmpretrain's script of this name:
#   bash tools/dist_train.sh CONFIG PROCESSES [flags of tools/train.py]
set -euo pipefail
usage="usage: bash tools/dist_train.sh CONFIG PROCESSES [flags]"
python "$(dirname "$0")/launch.py" "${2:?$usage}" train "${1:?$usage}" "${@:3}"
