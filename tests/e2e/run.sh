#!/usr/bin/env bash
# Runs the scenarios of the pages in a real browser against the real binary. Installs what is missing: Chromium and a font
# with Chinese characters from Debian, Node, and the two packages of package-lock.json.
#
#   tests/e2e/run.sh                     builds the debug binary and runs everything
#   MALLARD_BIN=target/release/mallard tests/e2e/run.sh    with another binary
#
# Pictures of every page are left in tests/e2e/artifacts (MALLARD_E2E_SHOTS), which git does not know.
set -euo pipefail
[ -z "${MALLARD_BIN:-}" ] || { MALLARD_BIN=$(realpath "$MALLARD_BIN") && export MALLARD_BIN; }
cd "$(dirname "$0")"

# Runs what asks a server on the network until it succeeds, five times at most.
insist() {
  local pause=5
  until "$@"; do
    [ "$pause" -le 80 ] || return 1
    echo "failed, again in $pause s: $*" >&2
    sleep "$pause"
    pause=$((pause * 2))
  done
}
export DEBIAN_FRONTEND=noninteractive
apt_get() { apt-get -qq -o DPkg::Lock::Timeout=300 -o Acquire::Retries=3 "$@"; }
packages() { apt_get update && apt_get install -y --no-install-recommends "${need[@]}"; }

need=()
command -v chromium >/dev/null || [ -n "${CHROMIUM:-}" ] || need+=(chromium)
fc-list :lang=zh 2>/dev/null | grep -q . || need+=(fontconfig fonts-wqy-microhei)
has_node() { node -e 'process.exit(Number(process.versions.node.split(".")[0]) >= 20 ? 0 : 1)' 2>/dev/null; }
command -v npm >/dev/null || need+=(nodejs npm)
if [ "${#need[@]}" -gt 0 ]; then
  insist packages
fi
insist npm ci --no-audit --no-fund --silent
# Debian's own may be older than what drives the browser wants.
if ! has_node; then
  insist npm install --no-save --no-audit --no-fund --silent node@22
  PATH="$PWD/node_modules/node/bin:$PATH"
fi
if [ -z "${MALLARD_BIN:-}" ]; then
  cargo build --manifest-path ../../Cargo.toml -p mallard
fi
[ $# -gt 0 ] || set -- ./*.test.mjs
exec node --test --test-concurrency=1 "$@"
