# Ray inside a Slurm job: a head on the first node, where the batch script and so the driver run too, and a worker on every other
# one. Sourced by *.sbatch.
#
# REVIEWLLM_PYTHON     the interpreter, on storage that all nodes see (default: .venv/bin/python of the folder of submission)
# REVIEWLLM_LOGS       folder of Ray's start-up logs and of the job's token (default: out/slurm there)
# REVIEWLLM_INTERFACE  network interface that Ray talks over (default: that of each node's first IPv4 address)
# REVIEWLLM_LINGER_S   seconds that Ray stays after a job that succeeded, for Prometheus to see its last values (default: 20)

set -euo pipefail
cd "$SLURM_SUBMIT_DIR"
python=${REVIEWLLM_PYTHON:-$PWD/.venv/bin/python}
[[ -x $python ]] || { echo "$python: no interpreter; run 'make install' (or set REVIEWLLM_PYTHON)" >&2; exit 2; }

nodes=$SLURM_JOB_NUM_NODES
gpus=${SLURM_GPUS_ON_NODE:-0}
if ((gpus)) && "$python" -c 'import importlib.metadata, sys; sys.exit("+cpu" not in importlib.metadata.version("torch"))'; then
  echo "warning: $python has a torch for CPUs; for the nodes' GPUs install '.[gpu]' into an environment of its own" >&2
fi
head_node=$SLURMD_NODENAME
folder=${REVIEWLLM_LOGS:-$PWD/out/slurm}/$SLURM_JOB_ID.${SLURM_RESTART_COUNT:-0}
mkdir -p "$folder"
chmod 700 "$folder"

# A token of this job's own, in a file that only its user reads: an environment variable would travel through Slurm.
(umask 077; "$python" -c 'import secrets; print(secrets.token_hex(32), end="")' > "$folder/token")
export RAY_AUTH_MODE=token RAY_AUTH_TOKEN_PATH=$folder/token RAY_USAGE_STATS_ENABLED=0 PYTHONUNBUFFERED=1
# A node that is cut off counts as dead after 4 x (2 + 4) s, not 65; workers of a lost head end after 10 s, not 60.
export RAY_health_check_period_ms=2000 RAY_health_check_timeout_ms=4000 RAY_health_check_failure_threshold=4
export RAY_gcs_rpc_server_reconnect_timeout_s=10

steps=()  # process ids of the sruns that hold Ray's nodes
driver=
interrupted=

# The node's address. Not `hostname -i`, which is 127.0.1.1 on many a host.
own_address() {
  if [[ -n ${REVIEWLLM_INTERFACE:-} ]]; then
    ip -4 -oneline address show dev "$REVIEWLLM_INTERFACE" | sed 's/.* inet \([0-9.]*\).*/\1/'
  else
    hostname -I | tr ' ' '\n' | grep --max-count=1 --extended-regexp '^[0-9]+(\.[0-9]+){3}$'
  fi
}
export -f own_address

# start_ray_node FLAG...  on the nodes that the srun options in `where` name; they stay until the srun is ended
start_ray_node() {
  # shellcheck disable=SC2016  # expanded on the node
  srun --overlap --cpus-per-task="$SLURM_CPUS_PER_TASK" "${where[@]}" bash -c '
    python=$1; shift
    exec "${python%/*}/ray" start --block --node-ip-address="$(own_address)" \
      --temp-dir="/tmp/ray-$SLURM_JOB_ID-$SLURM_NODEID" --num-cpus="$SLURM_CPUS_PER_TASK" --metrics-export-port=8080 \
      --disable-usage-stats "$@"
  ' bash "$python" --num-gpus="$gpus" "$@" &
  steps+=($!)
}

start_ray() {
  local address port=$((20000 + SLURM_JOB_ID % 10000)) wanted
  address=$(own_address) || fail "no IPv4 address is to be found on $head_node; set REVIEWLLM_INTERFACE"
  export RAY_ADDRESS=$address:$port
  echo "Ray's head is on $head_node ($RAY_ADDRESS), $nodes node(s) of $SLURM_CPUS_PER_TASK CPUs and $gpus GPUs; logs in $folder"
  where=(--nodes=1 --ntasks=1 --nodelist="$head_node")
  start_ray_node --head --port="$port" --include-dashboard="${REVIEWLLM_DASHBOARD:-false}" --dashboard-host=127.0.0.1 \
    > "$folder/head.log" 2>&1
  # The port answers before the head is ready for workers.
  wait_for 180 "Ray's head" grep -qs 'Ray runtime started' "$folder/head.log"
  if ((nodes > 1)); then
    where=(--nodes="$((nodes - 1))" --ntasks="$((nodes - 1))" --exclude="$head_node" --no-kill)
    start_ray_node --address="$RAY_ADDRESS" > "$folder/workers.log" 2>&1
    wanted=$((nodes - 1))
    wait_for 180 "$wanted worker(s)" workers_started "$wanted"
  fi
}

workers_started() { (($(grep -cs 'Ray runtime started' "$folder/workers.log") == $1)); }

# wait_for SECONDS WHAT COMMAND...  until the command succeeds
wait_for() {
  local seconds=$1 what=$2 step end=$((SECONDS + $1)); shift 2
  until "$@"; do
    if [[ -n $interrupted ]]; then return; fi
    for step in "${steps[@]}"; do
      kill -0 "$step" 2> /dev/null || fail "$what ended while starting"
    done
    ((SECONDS < end)) || fail "$what did not start within $seconds s"
    sleep 0.5
  done
}

fail() {
  echo "$1; the last lines of $folder/*.log:" >&2
  tail -n 15 "$folder"/*.log >&2
  exit 1
}

# At the exit, whatever it is: Ray's nodes get ten seconds to end.
stop_ray() {
  local status=$? end=$((SECONDS + 10))
  set +e
  trap '' TERM USR1
  rm -f "$folder/token"
  ((${#steps[@]})) && kill "${steps[@]}" 2> /dev/null
  while ((SECONDS < end)) && kill -0 "${steps[@]}" 2> /dev/null; do sleep 0.2; done
  ((${#steps[@]})) && kill -KILL "${steps[@]}" 2> /dev/null
  exit "$status"
}

# run_driver COMMAND...  SIGTERM (scancel, preemption) and SIGUSR1 (time is nearly up) end it gently; the exit status is its own
run_driver() {
  local status=143
  trap stop_ray EXIT
  trap 'interrupted=TERM; end_driver; rm -f "$folder/token"' TERM  # Slurm ends the nodes too, and soon this script
  trap 'interrupted=USR1; end_driver' USR1
  start_ray
  if [[ -z $interrupted ]]; then
    "$@" &
    driver=$!
    status=0
    wait_for_driver || status=$?
  fi
  if [[ $interrupted == USR1 ]] && ((status == 143)); then
    echo "time is nearly up: requeued, and the same command goes on"
    scontrol requeue "$SLURM_JOB_ID"
    sleep 60  # until Slurm ends this run
  fi
  ((status)) || sleep "${REVIEWLLM_LINGER_S:-20}"
  exit "$status"
}

end_driver() { [[ -z $driver ]] || kill -TERM "$driver" 2> /dev/null || true; }

# `wait` returns early when a trapped signal comes.
wait_for_driver() {
  local status=0
  while kill -0 "$driver" 2> /dev/null; do
    status=0
    wait "$driver" || status=$?
  done
  return "$status"
}
