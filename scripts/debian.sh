# Sourced by the scripts that may have to install something: root's rights, and Debian's packages.

say() { printf '%s: %s\n' "${0##*/}" "$*" >&2; }
die() { say "$*"; exit 1; }

can_be_root() { [ "$(id -u)" = 0 ] || command -v sudo >/dev/null; }

as_root() {
  if [ "$(id -u)" = 0 ]; then "$@"
  elif can_be_root; then sudo -- "$@"
  else die "needs root to run: $* (run this as root, install sudo, or set DOCKER_HOST to an engine that answers)"
  fi
}

# install_packages NAME... : does not start the services that they bring along.
install_packages() (
  command -v apt-get >/dev/null || die "missing $*, and there is no apt-get to install it with"
  say "installing $*"
  policy=/usr/sbin/policy-rc.d
  if [ ! -e $policy ]; then
    trap 'as_root rm -f $policy' EXIT
    printf '#!/bin/sh\nexit 101\n' | as_root install -m 755 /dev/stdin $policy
  fi
  {
    as_root apt-get update -qq &&
      as_root env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "$@"
  } >&2
)
