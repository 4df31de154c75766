#!/usr/bin/env bash
# Test in several processes, as mmpretrain's script of this name:
#   bash tools/dist_test.sh CONFIG CHECKPOINT PROCESSES [flags of tools/test.py]
set -euo pipefail
usage="usage: bash tools/dist_test.sh CONFIG CHECKPOINT PROCESSES [flags]"
python "$(dirname "$0")/launch.py" "${3:?$usage}" test "${1:?$usage}" "${2:?$usage}" "${@:4}"
