#!/usr/bin/env bash
# The whole acceptance on a GPU in one command, within 25 minutes: what generation and metrics do there, and how fast.
#
#     benchmarks/gpu_check.sh [OUT]                       all steps; OUT is a folder, gpu_check/ where none is given
#     STEPS="doctor tests" benchmarks/gpu_check.sh [OUT]  some of them
#     benchmarks/gpu_check.sh --dry [OUT]                 all steps at tiny sizes on a CPU, which checks this script, in some
#                                                         three minutes
#
# It needs a checkout, and a Python with what evalkit needs; without an installation, PYTHONPATH with the packages in
# it is enough (PYTHON=python3.12 for another interpreter). It reaches for no network. Each step has its own time limit,
# its output goes to OUT/STEP.log, and the next step follows whatever came of it. Figures go to OUT/*.json and *.md as
# they are measured: copy them to results/benchmarks/ to record them. Ends with 0 if every step passed, else with 1.
#
# Steps come in the order of what they tell: the first six take some twelve minutes. Where one command may last ten:
#     STEPS="doctor tests attention medium"   STEPS="invariance whole backends metrics"   STEPS="small large"
#
# What the steps take and when they are stopped, in seconds. Nothing of this was measured: it is arithmetic for an H100
# from milliseconds per step that are themselves estimates (of stereo-medium evalkit 3, 7 and 12 at 8, 64 and 128 clips;
# generate() 21 to 33 at any batch). Of each step 25 s are for starting Python and drawing weights. "2 x" and "3 x" are
# runs: generate() runs twice, evalkit once more to warm up and to record its graphs.
#
#     step        about  limit  what it does
#     doctor         30     90  versions, what is used, and why not more
#     tests         180    300  tests that need a GPU, and those of the kernels, compiled
#     attention      90    180  kernels and torch's attentions at 15 shapes; steps at 8, 64, 128 clips
#     medium        150    300  stereo-medium at 1, 8, 64, 128: generate() 2 x 39, evalkit 3 x 12, trials 10
#     invariance    110    240  64 clips in batches of 8, 64, 128, two settings: each 31 and a start
#     whole         130    240  64 clips to samples: pipeline 2 x 18, evalkit 4 x 4; 512 clips to files: 45
#     backends       90    180  both attentions, with graphs and without: 256 steps at 8, 64, 128
#     metrics       150    240  the metric stage against the packages, 32 pairs of clips; 512 clips by evalkit alone
#     small          75    150  stereo-small at 1, 8, 64, 128: generate() 2 x 15, evalkit 3 x 6
#     large         140    270  stereo-large at 1, 8, 64, 128: generate() 2 x 23, evalkit 3 x 19, trials 10
#
# These are 19 minutes. Limits are looser than that, so no step begins after 20 minutes, and none lasts beyond 25.

set -uo pipefail
cd "$(dirname "$0")/.."
DRY= OUT=gpu_check
for argument in "$@"; do
  case $argument in
    --dry) DRY=1 ;;
    -h | --help) sed -n '2,/^$/s/^# \{0,1\}//p' "benchmarks/${0##*/}"; exit ;;
    -*) echo "unknown option '$argument': there are --dry and --help" >&2; exit 2 ;;
    *) OUT=$argument ;;
  esac
done
PYTHON=${PYTHON:-$([ -x .venv/bin/python ] && echo .venv/bin/python || echo python3)}
STEPS=${STEPS-doctor tests attention medium invariance whole backends metrics small large}
[ -n "$STEPS" ] || { echo "STEPS is empty: name some, see the head of $0" >&2; exit 2; }
LAST_START=$((20 * 60)) END=$((25 * 60))

mkdir -p "$OUT" || exit 2
OUT=$(cd "$OUT" && pwd)
export HF_HUB_OFFLINE=1 TRANSFORMERS_OFFLINE=1 PYTHONUNBUFFERED=1 PYTHONPATH=$PWD${PYTHONPATH:+:$PYTHONPATH}
DEVICE=cuda
if [ -n "$DRY" ]; then
  DEVICE=cpu
  export CUDA_VISIBLE_DEVICES= TRITON_INTERPRET=1 OMP_NUM_THREADS=${OMP_NUM_THREADS:-1}
fi

seconds_of() { # the limit of a step
  case $1 in
    doctor) echo 90 ;; tests) echo 300 ;; attention) echo 180 ;; medium) echo 300 ;; invariance) echo 240 ;;
    whole) echo 240 ;; backends) echo 180 ;; metrics) echo 240 ;; small) echo 150 ;; large) echo 270 ;;
    *) return 1 ;;
  esac
}

# The command of a step, in COMMAND.
command_of() {
  local benchmark=("$PYTHON" -m)
  local to=(--device "$DEVICE" --output "$OUT")
  local tests=(tests/decoding tests/features tests/encoders -m gpu)
  case $1 in
    doctor) COMMAND=("$PYTHON" -m evalkit.cli doctor --device "$DEVICE") ;;
    tests) COMMAND=("$PYTHON" -m pytest -q -p no:cacheprovider "${tests[@]}") ;;
    attention) COMMAND=("${benchmark[@]}" benchmarks.attention "${to[@]}") ;;
    invariance) COMMAND=("${benchmark[@]}" benchmarks.invariance "${to[@]}") ;;
    metrics) COMMAND=("${benchmark[@]}" benchmarks.metrics "${to[@]}" --clips 32) ;;
    small | medium | large)
      COMMAND=("${benchmark[@]}" benchmarks.generation "${to[@]}" --parts cases --sizes "stereo-$1") ;;
    whole) COMMAND=("${benchmark[@]}" benchmarks.generation "${to[@]}" --parts whole everything) ;;
    backends) COMMAND=("${benchmark[@]}" benchmarks.generation "${to[@]}" --parts backends) ;;
  esac
  [ -n "$DRY" ] || return 0
  case $1 in
    tests) COMMAND=("$PYTHON" -m pytest -q -p no:cacheprovider tests/decoding/test_kernels.py tests/decoding/test_cuda.py) ;;
    attention) COMMAND+=(--size tiny --rows 4 --lengths 64 --clips 2 --steps 12 --new 8) ;;
    invariance) COMMAND+=(--size tiny --dtype float32 --batches 1 2 --clips 2 --steps 8) ;;
    metrics) COMMAND+=(--clips 1 --repeats 1 --threads 1) ;;
    small | medium | large)
      COMMAND=("${benchmark[@]}" benchmarks.generation "${to[@]}" --parts cases --cases tiny:2:12:10 --repeats 1 --threads 1) ;;
    whole) COMMAND+=(--whole tiny:2:10 --clips 2 --repeats 1 --threads 1 --seconds 0.2) ;;
    backends) COMMAND+=(--backends tiny:1:6 --repeats 1 --threads 1) ;;
  esac
}

for step in $STEPS; do
  seconds_of "$step" >/dev/null || { echo "unknown step '$step': see the head of $0" >&2; exit 2; }
done
summary=() failed=0
for step in $STEPS; do
  limit=$(seconds_of "$step") begun=$SECONDS
  if [ "$begun" -ge "$LAST_START" ]; then
    summary+=("$(printf '%-12s %-9s %5s' "$step" "no time" -)") failed=1
    continue
  fi
  [ $((END - begun)) -ge "$limit" ] || limit=$((END - begun))
  command_of "$step"
  echo "$step: ${COMMAND[*]}"
  timeout --kill-after=10 "$limit" "${COMMAND[@]}" >"$OUT/$step.log" 2>&1 </dev/null
  code=$?
  case $code in 0) said=ok ;; 124 | 137) said=timeout ;; *) said=failed ;; esac
  [ "$code" = 0 ] || { failed=1; tail -n 15 "$OUT/$step.log" | sed 's/^/    /'; }
  summary+=("$(printf '%-12s %-9s %5d' "$step" "$said" $((SECONDS - begun)))")
done
{
  printf '%-12s %-9s %5s\n' step result s
  printf '%s\n' "${summary[@]}"
} | tee "$OUT/summary.txt"
exit $failed
