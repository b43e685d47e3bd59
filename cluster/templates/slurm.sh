set -euo pipefail

# Ray's head on the first node, Ray on the others, then the search in this step; all of it ends with the job.
# Ports and the temporary folder are this job's own, since others may run Ray on the same nodes.
mapfile -t nodes < <(scontrol show hostnames "$SLURM_JOB_NODELIST")
ip=${RAYSEARCH_HEAD_IP:-$(srun --nodes=1 --ntasks=1 --nodelist="${nodes[0]}" hostname -I | awk '{print $1}')}
port=${RAYSEARCH_PORT:-$((20000 + SLURM_JOB_ID % 10000))}
ray=$ip:$port
export RAY_USAGE_STATS_ENABLED=0
RAY_AUTH_TOKEN=$(python -c 'import secrets; print(secrets.token_hex(32))') # others of these nodes have none
export RAY_AUTH_TOKEN RAY_AUTH_MODE=token

# Ray on a busy node may not be up within the 30 s that it allows itself: it is started again, up to three times.
# shellcheck disable=SC2016 # the node's shell expands it
keep_starting='trap "kill \$ray; wait; exit 143" TERM
for _ in 1 2 3 4; do
  SECONDS=0
  ray start --block "$@" & ray=$!
  code=0; wait $ray || code=$?
  if ((code == 0 || SECONDS > 90)); then break; fi
done
exit $code'

start_ray() { # start_ray NODE OPTIONS...
  local node=$1
  shift
  srun --nodes=1 --ntasks=1 --nodelist="$node" --cpus-per-task="$cpus" --overlap \
    bash -c "$keep_starting" ray --num-cpus="$cpus" --num-gpus="$gpus" --min-worker-port=0 --max-worker-port=0 "$@" \
    > /dev/null &
}

trap 'kill $(jobs -p) 2> /dev/null || true; wait' EXIT
start_ray "${nodes[0]}" --head --node-ip-address="$ip" --port="$port" --include-dashboard=false \
  --temp-dir="${TMPDIR:-/tmp}/ray-$SLURM_JOB_ID"
for node in "${nodes[@]:1}"; do
  start_ray "$node" --address="$ray"
done
raysearch doctor "$spec" --address "$ray" --storage "$storage" --nodes "${#nodes[@]}" --wait 300

# A job that was preempted or ran out of time goes on where its journal ends: the same command again.
if raysearch status "$run" > /dev/null 2>&1; then
  search=(raysearch resume "$run")
else
  search=(raysearch launch "$spec" --storage "$storage" --name "$name")
fi
"${search[@]}" --address "$ray" --skip-checks &
running=$!
trap 'kill -TERM "$running"' TERM # Slurm's warning before the end; the search then ends by itself
code=0
wait "$running" || code=$?
if kill -0 "$running" 2> /dev/null; then
  code=0
  wait "$running" || code=$?
fi
exit "$code"
