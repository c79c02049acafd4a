#!/usr/bin/env bash
# Machines for a swarm of the tests' own, on this one: each is a set of namespaces (network, mounts, processes, host name) with an
# engine in it. They hang on one switch, a network namespace too, so that this machine's own network is left alone. There is no
# way out: the name of a public registry fails at once.
#
#   swarm-lab.sh ready             install what is missing; exit status 3 if this machine can't do it, and why
#   swarm-lab.sh switch            lay the network
#   swarm-lab.sh boot N            switch machine N on if it is off, and start its engine unless it runs
#   swarm-lab.sh stop N            end its engine in good order, as a shutdown of the service does
#   swarm-lab.sh kill N            SIGKILL its engine, and nothing else: containers go on
#   swarm-lab.sh cut N             cut its power: all that runs in it dies in the same moment, its disk stays
#   swarm-lab.sh plug N, unplug N  put its cable into the switch, or pull it
#   swarm-lab.sh at-switch CMD…    run it there, as the address 192.0.2.254
#   swarm-lab.sh down              take everything away, without a trace
#
# Everything lives under SWARM_LAB_DIR. SWARM_LAB_GROUP may use the engines' sockets: SWARM_LAB_DIR/N/docker.sock.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
. "$here/../../scripts/debian.sh"

PATH=$PATH:/usr/sbin:/sbin
lab=${SWARM_LAB_DIR:?}
group=${SWARM_LAB_GROUP:-$(id -gn)}
# TEST-NET-1: no engine gives of these to networks of its own.
network=192.0.2
cgroup=/${lab##*/}

cannot() { say "$*"; exit 3; }

if [ "$(id -u)" != 0 ]; then
  { command -v sudo && sudo -n true; } >/dev/null 2>&1 || cannot 'needs root, or sudo without a password'
  exec sudo -n env PATH="$PATH" SWARM_LAB_DIR="$lab" SWARM_LAB_GROUP="$group" "$here/swarm-lab.sh" "$@"
fi

ready() {
  local missing=() reason
  command -v dockerd >/dev/null || missing+=(docker.io)
  command -v iptables >/dev/null || missing+=(iptables)
  command -v ip >/dev/null || missing+=(iproute2)
  [ ${#missing[@]} = 0 ] || install_packages "${missing[@]}" || cannot "could not install ${missing[*]}"
  reason=$(unshare --net --mount --uts --ipc --pid --fork --mount-proc true 2>&1) || cannot "no namespaces: $reason"
  reason=$(unshare --net sh -ec '
    ip link add lab0 type bridge
    ip link add lab1 type veth peer name lab2
    ip link add lab3 type vxlan id 1 dstport 4789
    iptables -t nat -S' 2>&1) || cannot "no bridges, veth pairs, VXLAN or iptables in a namespace: $reason"
}

# hold NAME FLAG…: makes namespaces by unshare's flags. A process in them, their first one, keeps them and reaps what is orphaned there.
hold() {
  local dir=$lab/$1
  mkdir -p "$dir"
  # shellcheck disable=SC2016
  setsid unshare "${@:2}" --fork --kill-child bash -c 'exec 3<> <(:); while :; do read -r -u 3 || :; done' "$dir/" \
    </dev/null >>"$dir/log" 2>&1 &
  echo $! >"$dir/pid"
  until first "$1" >/dev/null; do sleep 0.02; done
}

# The first process in the namespaces of NAME, if they are there. A pid may have been given to another process since.
first() {
  local pid child
  pid=$(cat "$lab/$1/pid" 2>/dev/null) && [ -n "$pid" ] || return 1
  child=$(cat "/proc/$pid/task/$pid/children" 2>/dev/null) && child=${child// /} && [ -n "$child" ] || return 1
  tr '\0' ' ' 2>/dev/null <"/proc/$child/cmdline" | grep -qF -- "$lab/$1/ " && echo "$child"
}

# Ends the first process in the namespaces of NAME, and with it all that is in its namespace of processes.
release() {
  local child
  child=$(first "$1") || return 0
  kill -KILL "$child"
  while [ -e "/proc/$child" ]; do sleep 0.02; done
}

at_switch() { nsenter -t "$(first switch)" --net "$@"; }
inside() { nsenter -t "$(first "$1")" --mount --uts --ipc --net --pid "${@:2}"; }

lay_switch() {
  hold switch --net
  at_switch sh -ec "
    ip link set lo up
    ip link add lab type bridge
    ip address add $network.254/24 dev lab
    ip link set lab up"
}

switch_on() {
  local pid
  # What the last power cut has left may still be on its way out.
  at_switch ip link delete "node$1" 2>/dev/null || true
  hold "$1" --net --mount --uts --ipc --pid --mount-proc
  pid=$(first "$1")
  at_switch ip link add "node$1" type veth peer name eth0 netns "$pid"
  plug "$1"
  inside "$1" sh -ec "
    echo node$1 >/proc/sys/kernel/hostname
    mount -t tmpfs tmpfs /run
    ip link set lo up
    ip address add $network.$1/24 dev eth0
    ip link set eth0 up"
}

plug() { at_switch ip link set "node$1" master lab up; }
unplug() { at_switch ip link set "node$1" nomaster; }

engine_pid() { inside "$1" sh -c 'pid=$(cat /run/docker.pid) && [ "$(cat "/proc/$pid/comm")" = dockerd ] && echo "$pid"' 2>/dev/null; }

boot() {
  first "$1" >/dev/null || switch_on "$1"
  if ! engine_pid "$1" >/dev/null; then
    echo '{}' >"$lab/$1/daemon.json"
    # A stale pid file of containerd's may name what is dead, and would be waited for in vain.
    inside "$1" rm -f /run/docker.pid /run/docker/containerd/containerd.pid
    inside "$1" setsid -f dockerd --config-file "$lab/$1/daemon.json" --data-root "$lab/$1/data" --exec-root /run/docker \
      --pidfile /run/docker.pid -H "unix://$lab/$1/docker.sock" --group "$group" --insecure-registry "$network.0/24" \
      --exec-opt native.cgroupdriver=cgroupfs --cgroup-parent "$cgroup/$1" </dev/null >>"$lab/$1/log" 2>&1
  fi
  local tries=0
  until timeout 10 docker -H "unix://$lab/$1/docker.sock" version >/dev/null 2>&1; do
    tries=$((tries + 1))
    if [ $tries -ge 300 ] || { [ $tries -ge 30 ] && ! engine_pid "$1" >/dev/null; }; then
      tail -n 20 "$lab/$1/log" >&2
      die "the engine of machine $1 does not answer"
    fi
    sleep 0.1
  done
}

# signal NAME N: and waits until the engine has ended.
signal() {
  local pid
  pid=$(engine_pid "$2") || return 0
  inside "$2" kill "-$1" "$pid"
  while [ "$(engine_pid "$2")" = "$pid" ]; do sleep 0.02; done
}

cut_power() {
  release "$1"
  at_switch ip link delete "node$1" 2>/dev/null || true
  remove_cgroups "$cgroup/$1"
}

# The kernel takes some time over those of processes that have just died.
remove_cgroups() {
  local root
  for root in /sys/fs/cgroup /sys/fs/cgroup/*/; do
    [ -d "$root$1" ] || continue
    for _ in {1..100}; do
      find "$root$1" -depth -type d -exec rmdir {} + 2>/dev/null && break
      sleep 0.05
    done
  done
}

down() {
  local dir
  for dir in "$lab"/[0-9]*/; do
    [ ! -d "$dir" ] || cut_power "$(basename "$dir")"
  done
  release switch
  remove_cgroups "$cgroup"
  rm -rf --one-file-system "$lab"
}

case ${1:-} in
  ready) ready ;;
  switch) lay_switch ;;
  boot) boot "$2" ;;
  stop) signal TERM "$2" ;;
  kill) signal KILL "$2" ;;
  cut) cut_power "$2" ;;
  plug) plug "$2" ;;
  unplug) unplug "$2" ;;
  at-switch) exec nsenter -t "$(first switch)" --net "${@:2}" ;;
  down) down ;;
  *) sed -n '2,/^set /{/^#/s/^# \{0,1\}//p}' "$0" >&2; exit 2 ;;
esac
