# Sourced by up and test: makes this machine ready. Each step says on stderr what it does, if it has anything to do.

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
. "$root/scripts/debian.sh"

# The project's own Node comes with its dependencies, and goes before an older one of the machine's.
ready_node() {
  command -v node >/dev/null && command -v npm >/dev/null || die 'needs Node 20 or newer with npm: https://nodejs.org'
  node -e 'process.exit(Number.parseInt(process.versions.node) < 20 ? 1 : 0)' || die "needs Node 20 or newer, found $(node -v)"
  if [ "$root/package-lock.json" -nt "$root/node_modules/.package-lock.json" ]; then
    say 'installing the dependencies'
    (cd "$root" && npm ci --no-audit --no-fund --loglevel=error >&2) || die 'npm ci failed'
  fi
  PATH=$root/node_modules/.bin:$PATH
}

# DOCKER_HOST=ssh://… is tested with the real client.
ready_ssh() {
  command -v ssh >/dev/null || install_packages openssh-client || die 'could not install openssh-client'
}

# Exports DOCKER_HOST. An engine that this starts is stopped again by leave_engine.
ready_engine() {
  "$root/scripts/engine" status >/dev/null || started_engine=yes
  DOCKER_HOST=$("$root/scripts/engine" ensure) || return
  export DOCKER_HOST
}

leave_engine() {
  [ "${started_engine:-}" != yes ] || ! "$root/scripts/engine" status >/dev/null || "$root/scripts/engine" down
}

ready_images() { "$root/scripts/images"; }
