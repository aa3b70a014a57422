#!/usr/bin/env bash
# Replays real orders and compares the mall's own books with known totals, byte for byte.
# Usage: tests/replay.sh BINARY
#
# The data is not part of the project. It is looked for in $MALLARD_RETAIL_DATA, else in ../shared/data/online-retail/public
# beside the repository: <name>.csv.gz and expected/<name>-by-{invoice,sku,customer}.csv.gz.
set -euo pipefail

if [ $# -ne 1 ]; then
  echo "usage: tests/replay.sh BINARY" >&2
  exit 2
fi
BINARY=$(cd "$(dirname "$1")" && pwd)/$(basename "$1")
ROOT=$(cd "$(dirname "$0")/.." && pwd)
DATA=${MALLARD_RETAIL_DATA:-$ROOT/../shared/data/online-retail/public}
WEEK=online-retail-smoke-week1
PUBLIC=online-retail-2010-12_2011-08
# Settings of whoever runs the test must not reach the mall.
unset "${!MALLARD_@}"
# A machine that is busy must not look like a fault: no call is given up.
export MALLARD_RPC__DEADLINE_DEFAULT_MS=600000

if [ ! -f "$DATA/$WEEK.csv.gz" ]; then
  echo "skipped: no real orders at $DATA; name their folder with MALLARD_RETAIL_DATA"
  echo "0 passed, 0 failed, 1 skipped"
  exit 0
fi

WORK=$(mktemp -d)
CHILD=
clean_up() {
  if [ -n "$CHILD" ]; then
    kill -9 "$CHILD" 2>/dev/null || true
    wait "$CHILD" 2>/dev/null || true
  fi
  rm -rf "$WORK"
}
trap clean_up EXIT

PASSED=0
FAILED=0
passed() {
  echo "ok      $1"
  PASSED=$((PASSED + 1))
}
failed() {
  echo "FAILED  $1"
  FAILED=$((FAILED + 1))
}

# Reads a number or a word of a one-line JSON object.
field() { grep -o "\"$1\":[^,}]*" "$2" | head -n 1 | cut -d: -f2-; }

# Milliseconds since the epoch.
now_ms() {
  local now=${EPOCHREALTIME:-$(date +%s).000000}
  now=${now/[.,]/}
  echo $((now / 1000))
}

seconds_since() {
  local ms=$(($(now_ms) - $1))
  printf '%d.%01d' $((ms / 1000)) $((ms % 1000 / 100))
}

# replay NAME CASE: replays a file into the folders of a case, in the place of the shell that runs it.
replay() {
  exec "$BINARY" replay online-retail "$DATA/$1.csv.gz" --data-dir "$WORK/$2/data" --report-dir "$WORK/$2/report" --json \
    >"$WORK/$2.json" 2>"$WORK/$2.err"
}

# compare NAME CASE: the three reports against the expected ones.
compare() {
  local report
  for report in by-invoice by-sku by-customer; do
    gzip -dc "$DATA/expected/$1-$report.csv.gz" >"$WORK/expected.csv"
    if cmp -s "$WORK/expected.csv" "$WORK/$2/report/$report.csv"; then
      passed "$2: $report.csv is as expected ($(($(wc -l <"$WORK/expected.csv") - 1)) rows)"
    else
      failed "$2: $report.csv differs; expected <, found >"
      diff "$WORK/expected.csv" "$WORK/$2/report/$report.csv" | head -n 10 || true
    fi
  done
}

# check CASE: the books of a case.
check() {
  local begun
  begun=$(now_ms)
  if "$BINARY" check --data-dir "$WORK/$1/data" >"$WORK/$1.check" 2>&1; then
    passed "$1: $(tail -n 1 "$WORK/$1.check"), in $(seconds_since "$begun") s"
  else
    failed "$1: the books do not balance"
    grep -v '^green' "$WORK/$1.check" | head -n 20 || true
  fi
}

# run NAME CASE: replay, compare, check.
run() {
  local begun
  begun=$(now_ms)
  if (replay "$1" "$2"); then
    passed "$2: $(field rows "$WORK/$2.json") rows replayed in $(field seconds "$WORK/$2.json") s, reports written after $(seconds_since "$begun") s"
    compare "$1" "$2"
    check "$2"
  else
    failed "$2: the replay ended with an error"
    tail -n 5 "$WORK/$2.err"
  fi
}

# Kills a replay in the middle of its papers and resumes it. A kill that came too early or too late shows in what the resumed
# run found done; then the next one comes later or earlier by half. The middle is far wider than that, so on a machine that is
# quick once and slow the next time some kill falls into it.
killed_and_resumed() {
  local name=$1 case=$2 whole_ms=$3 papers done_before kill_ms=$(($3 / 2))
  papers=$(($(gzip -dc "$DATA/expected/$name-by-invoice.csv.gz" | wc -l) - 1))
  for _ in $(seq 1 40); do
    rm -rf "${WORK:?}/$case"
    replay "$name" "$case" &
    CHILD=$!
    sleep "$((kill_ms / 1000)).$(printf '%03d' $((kill_ms % 1000)))"
    kill -9 "$CHILD" 2>/dev/null || true
    wait "$CHILD" 2>/dev/null || true
    CHILD=
    if ! (replay "$name" "$case"); then
      failed "$case: the resumed replay ended with an error"
      tail -n 5 "$WORK/$case.err"
      return
    fi
    done_before=$(field done_before "$WORK/$case.json")
    if [ "$done_before" -lt $((papers / 10)) ]; then
      kill_ms=$((kill_ms * 3 / 2 + 1))
    elif [ "$done_before" -gt $((papers * 9 / 10)) ]; then
      kill_ms=$((kill_ms * 2 / 3))
    else
      passed "$case: killed with -9 after $done_before of $papers papers and resumed"
      compare "$name" "$case"
      check "$case"
      return
    fi
  done
  failed "$case: no kill fell into the middle of the papers ($whole_ms ms)"
}

BEGUN=$(now_ms)
run "$WEEK" week
WEEK_MS=$(($(now_ms) - BEGUN))
killed_and_resumed "$WEEK" week-killed "$WEEK_MS"
if [ -f "$DATA/$PUBLIC.csv.gz" ]; then
  run "$PUBLIC" public
else
  echo "skipped: $PUBLIC.csv.gz is not there"
fi

echo "$PASSED passed, $FAILED failed"
[ "$FAILED" -eq 0 ]
