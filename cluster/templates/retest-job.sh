#!/usr/bin/env bash
# A retest as a job on a Ray cluster: bash retest-job.sh http://HEAD:8265 runs/first
# It trains there only if the settings are due. The job fails (codes 3, 4) when they are stale or it cannot be told.
set -euo pipefail
HEAD=${1:?the address of the Ray dashboard, such as http://head:8265}
RUN=${2:?the folder of the run on the cluster, such as runs/first}
exec ray job submit --address "$HEAD" --working-dir . -- raysearch retest "$RUN" --if-due --json
