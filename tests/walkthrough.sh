#!/usr/bin/env bash
# Runs the walk-through of README.md, exactly as it stands there, against a fresh shop.
# Usage: tests/walkthrough.sh BINARY
set -euo pipefail

if [ $# -ne 1 ]; then
  echo "usage: tests/walkthrough.sh BINARY" >&2
  exit 2
fi
BINARY=$(cd "$(dirname "$1")" && pwd)/$(basename "$1")
ROOT=$(cd "$(dirname "$0")/.." && pwd)
# Settings of whoever runs the test must not reach the shop, nor a proxy the calls to it.
unset "${!MALLARD_@}"
export NO_PROXY='*' no_proxy='*'
# A machine that is busy must not look like a fault: no time limit is near what a request takes.
export MALLARD_GATEWAY__TIMEOUT_MS=600000 MALLARD_GATEWAY__READ_TIMEOUT_MS=600000 MALLARD_GATEWAY__BODY_TIMEOUT_MS=600000 \
  MALLARD_GATEWAY__BODY_GRACE_MS=600000 MALLARD_GATEWAY__CHECK_TIMEOUT_MS=600000 MALLARD_HTTP__HEADER_READ_TIMEOUT_MS=600000 \
  MALLARD_RPC__DEADLINE_DEFAULT_MS=600000

WORK=$(mktemp -d)
SHOP=
clean_up() {
  if [ -n "$SHOP" ]; then
    kill -9 "$SHOP" 2>/dev/null || true
    wait "$SHOP" 2>/dev/null || true
  fi
  rm -rf "$WORK"
}
trap clean_up EXIT

fail() {
  echo "FAILED: $1"
  for log in walk.out shop.out shop.err; do
    if [ -s "$WORK/$log" ]; then
      echo "--- $log"
      tail -n 60 "$WORK/$log"
    fi
  done
  echo "0 passed, 1 failed"
  exit 1
}

# The block between the marker and the end of its fence.
awk '/^<!-- walkthrough -->$/ { marked = 1; next }
     marked && /^```$/ { exit }
     marked && /^```bash$/ { inside = 1; next }
     inside { print }' "$ROOT/README.md" >"$WORK/block.sh"
[ -s "$WORK/block.sh" ] || fail "README.md has no walk-through between <!-- walkthrough --> and the end of its fence"

"$BINARY" up --data-dir "$WORK/data" --listen 127.0.0.1:0 >"$WORK/shop.out" 2>"$WORK/shop.err" &
SHOP=$!
ADDRESS=
# Ten minutes only end a run that hangs.
for _ in $(seq 1 6000); do
  ADDRESS=$(sed -n 's|^mallard is open at http://\([^ ]*\).*|\1|p' "$WORK/shop.out")
  [ -z "$ADDRESS" ] || break
  kill -0 "$SHOP" 2>/dev/null || fail "the shop ended before it was open"
  sleep 0.1
done
[ -n "$ADDRESS" ] || fail "the shop did not open within ten minutes"
head -n 1 "$WORK/shop.out"
for _ in $(seq 1 6000); do
  ! curl -fsS -o /dev/null "http://$ADDRESS/readyz" 2>/dev/null || break
  kill -0 "$SHOP" 2>/dev/null || fail "the shop ended before it was ready"
  sleep 0.1
done

# Fed as a terminal would feed it, so that nothing but the text itself makes it work. What it leaves in its variables is
# asked afterwards.
cat >>"$WORK/block.sh" <<'ASK'
printf '\n'
printf 'result placed %s\n' "$(field status "$ORDER")"
printf 'result paid %s\n' "$(field status "$PAID")"
printf 'result refunded %s\n' "$(field status "$REFUND")"
printf 'result events %s\n' "$(printf '%s\n' "$EVENTS" | grep -o '"type":"[a-z_]*"' | cut -d'"' -f4 | tr '\n' ' ')"
printf 'result check %s\n' "$(field ok "$CHECK")"
ASK
MALL="http://$ADDRESS" ADMIN_PASSWORD=$(cat "$WORK/data/admin-password") \
  bash --norc --noprofile <"$WORK/block.sh" >"$WORK/walk.out" 2>&1 || fail "the walk-through ended with an error"
grep -v '^result ' "$WORK/walk.out"

expect() {
  local found
  found=$(sed -n "s/^result $1 //p" "$WORK/walk.out" | sed 's/ *$//')
  [ "$found" = "$2" ] || fail "$1: expected '$2', found '$found'"
}
expect placed pending_payment
expect paid paid
expect events 'placed paid'
expect refunded refunded
expect check true

kill -TERM "$SHOP"
CODE=0
wait "$SHOP" || CODE=$?
SHOP=
[ "$CODE" -eq 0 ] || fail "the shop ended with code $CODE after SIGTERM"
echo "1 passed, 0 failed"
