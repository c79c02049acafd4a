/*
 * Compose's keys that a function does not take, and why: whoever knows Compose should not have to guess. The texts
 * come after "KEY is not taken: ".
 */
type Reasons = Readonly<Record<string, string>>

const once = 'a call runs once and is never restarted'
const reached = 'a function is reached through the gateway alone'
const alone = 'a function runs alone, without other services'
const memory = 'set deploy.resources.limits.memory alone'
const cpuShare = 'set deploy.resources.limits.cpus'
const isolated = 'each call has a namespace of its own'
const rewritten = 'the gateway reads and bounds what a function prints'

export const refusedKeys: Reasons = {
  memory: 'write mem_limit, or deploy.resources.limits.memory',
  ports: reached,
  expose: reached,
  links: alone,
  external_links: alone,
  depends_on: alone,
  volumes_from: alone,
  restart: once,
  healthcheck: once,
  post_start: once,
  pre_stop: once,
  scale: 'each call is one container; use concurrency to bound how many run at once',
  container_name: 'every call has a container of its own, named after its invocation',
  build: 'build the image beforehand and name it in image',
  develop: 'build the image beforehand and name it in image',
  extends: 'use YAML anchors, or write it out',
  profiles: 'take the file out of the folder to take the function out of service',
  logging: rewritten,
  log_driver: rewritten,
  log_opt: rewritten,
  attach: rewritten,
  stdin_open: "stdin is always open: it is the call's body",
  annotations: 'use labels',
  label_file: 'use labels',
  provider: 'name an image',
  models: 'pass what the function needs in environment',
  credential_spec: 'it is for Windows containers',
  isolation: 'it is for Windows containers',
  domainname: 'set hostname to the full name',
  mac_address: 'the engine chooses it',
  ipc: isolated,
  uts: isolated,
  userns_mode: isolated,
  cgroup: isolated,
  cgroup_parent: isolated,
  device_cgroup_rules: 'name each device in devices',
  blkio_config: 'input and output of the disk is not bounded',
  cpu_count: cpuShare,
  cpu_percent: cpuShare,
  cpu_shares: cpuShare,
  cpu_period: cpuShare,
  cpu_quota: cpuShare,
  cpu_rt_runtime: cpuShare,
  cpu_rt_period: cpuShare,
  cpuset: cpuShare,
  memswap_limit: memory,
  mem_swappiness: memory,
  oom_kill_disable: 'a function that takes more than its memory is ended, and told as oom_killed',
  oom_score_adj: memory,
  storage_opt: 'use read_only with a tmpfs of a set size',
  use_api_socket: 'a function never gets the engine',
  services: 'each function has a file of its own: put what stands under the service at the top',
  version: 'a function has no version',
  include: 'each function has a file of its own',
  name: "the file's name is the function's name",
}

export const refusedDeployKeys: Reasons = {
  replicas: 'each call is one container; use concurrency to bound how many run at once',
  mode: once,
  restart_policy: once,
  update_config: once,
  rollback_config: once,
  endpoint_mode: reached,
  labels: 'use labels at the top',
}

export const pullPolicies: Reasons = {
  build: 'images are built beforehand, not by a call',
  daily: 'use always, missing or never',
  weekly: 'use always, missing or never',
}
