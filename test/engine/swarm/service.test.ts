import { describe, expect, test } from 'vitest'
import type { ContainerSpec, FunctionSpec } from '../../../src/core/function.ts'
import type { Task } from '../../../src/core/task.ts'
import { placeholder } from '../../../src/core/template.ts'
import type { ServicePlan } from '../../../src/engine/swarm/service.ts'
import { toServiceSpec } from '../../../src/engine/swarm/service.ts'
import { functionSpec } from '../../function-spec.ts'

interface Options {
  readonly written?: Partial<ContainerSpec>
  /** As the call fills it in. */
  readonly filled?: Partial<ContainerSpec>
  readonly spec?: Partial<Omit<FunctionSpec, 'container'>>
  readonly plan?: Partial<ServicePlan>
}

function plan({ written = {}, filled = {}, spec, plan: parts }: Options = {}): ServicePlan {
  const definition = functionSpec({ ...spec, container: written })
  const container = { ...definition.container, ...filled }
  const task: Task = { invocationId: 'i', attempt: 1, spec: definition, container }
  return {
    name: 'oneshot-i',
    task,
    gatewayId: 'g',
    image: 'busybox:stable@sha256:0',
    secrets: new Map(),
    configs: new Map(),
    networks: [],
    ...parts,
  }
}

const toContainer = (options?: Options) => toServiceSpec(plan(options)).TaskTemplate.ContainerSpec

test('a service has no replica yet, and none that is ever restarted', () => {
  const { Name, Mode, TaskTemplate, EndpointSpec } = toServiceSpec(plan())
  expect({ Name, Mode, EndpointSpec, policy: TaskTemplate.RestartPolicy }).toEqual({
    Name: 'oneshot-i',
    Mode: { Replicated: { Replicas: 0 } },
    EndpointSpec: { Mode: 'dnsrr' },
    policy: { Condition: 'none', MaxAttempts: 0 },
  })
})

test('it and its containers lead to the invocation and the gateway, whatever labels a definition has', () => {
  const labels = { team: 'a', 'oneshot.gateway': 'other' }
  const { Labels, TaskTemplate } = toServiceSpec(plan({ written: { labels } }))
  const ours = { 'oneshot.gateway': 'g', 'oneshot.invocation': 'i', 'oneshot.function': 'test' }
  expect(Labels).toEqual({ team: 'a', ...ours })
  expect(TaskTemplate.ContainerSpec.Labels).toEqual({ team: 'a', ...ours })
})

test('all networks are joined, each with its aliases', () => {
  const networks = [
    { name: 'front', aliases: ['a'] },
    { name: 'back', aliases: [] },
  ]
  expect(toServiceSpec(plan({ plan: { networks } })).TaskTemplate.Networks).toEqual([
    { Target: 'front', Aliases: ['a'] },
    { Target: 'back', Aliases: [] },
  ])
})

test('placement, limits and reservations are those of the definition', () => {
  const { Placement, Resources } = toServiceSpec(
    plan({
      written: {
        platform: 'linux/arm64',
        placement: {
          constraints: ['node.labels.disk==ssd'],
          spreadOver: ['node.labels.zone'],
          maxReplicasPerNode: 2,
        },
        limits: { cpus: 1.5, memoryBytes: 1024, pids: 10 },
        reservations: {
          cpus: 0.5,
          memoryBytes: 512,
          devices: [],
          genericResources: [{ kind: 'gpu', value: 2 }],
        },
      },
    }),
  ).TaskTemplate
  expect(Placement).toEqual({
    Constraints: ['node.labels.disk==ssd'],
    Preferences: [{ Spread: { SpreadDescriptor: 'node.labels.zone' } }],
    MaxReplicas: 2,
    Platforms: [{ OS: 'linux', Architecture: 'arm64' }],
  })
  expect(Resources).toEqual({
    Limits: { NanoCPUs: 1_500_000_000, MemoryBytes: 1024, Pids: 10 },
    Reservations: {
      NanoCPUs: 500_000_000,
      MemoryBytes: 512,
      GenericResources: [{ DiscreteResourceSpec: { Kind: 'gpu', Value: 2 } }],
    },
  })
})

describe('the environment', () => {
  const environment = (options: Options) => toContainer(options).Env

  test("has a definition's own templates as they are", () => {
    const environmentOf = { NODE: '{{.Node.Hostname}}' }
    const given = {
      written: { environment: environmentOf },
      filled: { environment: environmentOf },
    }
    expect(environment(given)).toEqual(['NODE={{.Node.Hostname}}'])
  })

  test.each([
    ['{{.Node.ID}}', '{{"{{"}}.Node.ID}}'],
    ['{', '{{"{"}}'],
    ['a}}b', 'a}}b'],
    ['{{{', '{{"{{"}}{{"{"}}'],
  ])('has what a call gives as text: %s', (value, escaped) => {
    expect(environment({ filled: { environment: { WORD: value } } })).toEqual([`WORD=${escaped}`])
  })

  test("has a call's values as text in the midst of a definition's templates", () => {
    const written = { GREETING: `{{.Task.Slot}} ${placeholder('word')}` }
    const filled = { GREETING: '', word: '{{.Node.ID}}' }
    expect(
      environment({ written: { environment: written }, filled: { environment: filled } })[0],
    ).toBe('GREETING={{.Task.Slot}} {{"{{"}}.Node.ID}}')
  })
})

test('a variable that the call brings is text, also if the definition has one of that name', () => {
  const { task, ...rest } = plan({
    written: { environment: { NODE: '{{.Node.Hostname}}' } },
    filled: { environment: { NODE: '{{.Node.ID}}' } },
  })
  const spec = toServiceSpec({ ...rest, task: { ...task, ownVariables: ['NODE'] } })
  expect(spec.TaskTemplate.ContainerSpec.Env).toEqual(['NODE={{"{{"}}.Node.ID}}'])
})

describe('an input', () => {
  const config = { id: 'c', name: 'oneshot-i' }
  const argv = ['cat', '-']

  test('goes through a shell to the command, if that reads stdin', () => {
    const { Command, Args, Configs, Env } = toContainer({
      plan: { input: { kind: 'config', config }, argv },
    })
    expect(Command?.slice(0, 2)).toEqual(['/bin/sh', '-c'])
    expect(Command?.slice(-2)).toEqual(['oneshot-i', '/run/oneshot/input'])
    expect(Args).toEqual(argv)
    expect(Env).toEqual([])
    expect(Configs).toEqual([
      {
        File: { Name: '/run/oneshot/input', UID: '0', GID: '0', Mode: 0o444 },
        ConfigID: 'c',
        ConfigName: 'oneshot-i',
      },
    ])
  })

  test('is a file that the command finds by its name, if the definition says so', () => {
    const { Env, ...rest } = toContainer({
      written: { command: ['it'] },
      spec: { input: 'file' },
      plan: { input: { kind: 'config', config } },
    })
    expect(Env).toEqual(['ONESHOT_INPUT_FILE=/run/oneshot/input'])
    expect(rest).toMatchObject({ Args: ['it'] })
    expect(rest).not.toHaveProperty('Command')
  })

  test('that is missing is an empty file', () => {
    expect(toContainer({ spec: { input: 'file' } }).Env).toEqual(['ONESHOT_INPUT_FILE=/dev/null'])
  })

  test('of a volume is mounted, with what any node needs to make the volume', () => {
    const driver = { Name: 'local', Options: { type: 'nfs', device: ':/spool' } }
    const { Mounts, Env } = toContainer({
      spec: { input: 'file' },
      plan: { input: { kind: 'volume', volume: 'spool', driver, path: 'g/oneshot-i/input' } },
    })
    expect(Mounts).toEqual([
      {
        Type: 'volume',
        Source: 'spool',
        Target: '/run/oneshot/spool',
        ReadOnly: true,
        VolumeOptions: { NoCopy: true, DriverConfig: driver },
      },
    ])
    expect(Env).toEqual(['ONESHOT_INPUT_FILE=/run/oneshot/spool/g/oneshot-i/input'])
  })
})

test('secrets are named by their ids, with target, owner and mode', () => {
  const secrets = [{ source: 'key', target: '/run/secrets/key', uid: 1, gid: 2, mode: 0o400 }]
  const looked = new Map([['key', { id: 's', name: 'key' }]])
  expect(toContainer({ written: { secrets }, plan: { secrets: looked } }).Secrets).toEqual([
    {
      File: { Name: '/run/secrets/key', UID: '1', GID: '2', Mode: 0o400 },
      SecretID: 's',
      SecretName: 'key',
    },
  ])
})

test('security is as the definition has it', () => {
  const { Privileges, CapabilityAdd, CapabilityDrop, ReadOnly, Ulimits } = toContainer({
    written: {
      securityOpt: ['seccomp=unconfined', 'no-new-privileges:true'],
      capAdd: ['NET_RAW', 'CAP_CHOWN'],
      capDrop: ['ALL'],
      readOnly: true,
      ulimits: { nofile: { soft: 1, hard: 2 } },
    },
  })
  expect({ Privileges, CapabilityAdd, CapabilityDrop, ReadOnly, Ulimits }).toEqual({
    Privileges: { NoNewPrivileges: true, Seccomp: { Mode: 'unconfined' } },
    CapabilityAdd: ['CAP_NET_RAW', 'CAP_CHOWN'],
    CapabilityDrop: ['ALL'],
    ReadOnly: true,
    Ulimits: [{ Name: 'nofile', Soft: 1, Hard: 2 }],
  })
})

test('mounts keep their drivers and options; a missing folder of a bind is made where it may be', () => {
  const { Mounts } = toContainer({
    written: {
      mounts: [
        {
          type: 'volume',
          source: 'shared',
          target: '/shared',
          readOnly: true,
          nocopy: false,
          driver: 'local',
          driverOptions: { type: 'nfs', o: 'addr=10.0.0.9', device: ':/data' },
          labels: {},
        },
        { type: 'bind', source: '/srv', target: '/srv', readOnly: false, createHostPath: true },
        { type: 'bind', source: '/etc', target: '/host', readOnly: true, createHostPath: false },
        { type: 'tmpfs', target: '/tmp', sizeBytes: 1024, mode: 0o1777 },
      ],
    },
  })
  expect(Mounts).toMatchObject([
    {
      Type: 'volume',
      Source: 'shared',
      VolumeOptions: {
        DriverConfig: { Name: 'local', Options: { type: 'nfs', device: ':/data' } },
      },
    },
    { Type: 'bind', Source: '/srv', BindOptions: { CreateMountpoint: true } },
    { Type: 'bind', Source: '/etc', ReadOnly: true },
    { Type: 'tmpfs', TmpfsOptions: { SizeBytes: 1024, Mode: 0o1777 } },
  ])
  expect(Mounts[2]).not.toHaveProperty('BindOptions')
})
