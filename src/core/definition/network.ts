import * as z from 'zod'
import { choice, integer, pairs, text, texts } from './scalar.ts'
import { listOf, mapping, oneOf, recordOf, refuse, scalar } from './shape.ts'
import type { DeviceMapping, DeviceRequest, NetworkAttachment, Ulimit } from '../function.ts'
import { absolutePath, isDeviceName } from '../path.ts'

const attachment = mapping(
  {
    aliases: listOf(text, 'a list of texts').exactOptional(),
    ipv4_address: text.exactOptional(),
    ipv6_address: text.exactOptional(),
  },
  {
    mac_address: 'the engine chooses it',
    link_local_ips: 'the engine chooses them',
    priority: 'networks are joined in the order in which they stand here',
    driver_opts: 'set them on the network itself',
    gw_priority: 'the first network has the default route',
    interface_name: 'the engine chooses it',
  },
)

const attachments = recordOf(
  oneOf('a map or nothing', {
    text: scalar('a map or nothing', (value) => (value === null ? {} : undefined)),
    map: attachment,
  }),
).transform((record): NetworkAttachment[] =>
  Object.entries(record as Record<string, z.output<typeof attachment>>).map(toAttachment),
)

function toAttachment([name, given]: [string, z.output<typeof attachment>]): NetworkAttachment {
  return {
    name,
    aliases: given.aliases ?? [],
    ...(given.ipv4_address !== undefined && { ipv4Address: given.ipv4_address }),
    ...(given.ipv6_address !== undefined && { ipv6Address: given.ipv6_address }),
  }
}

export const networks = oneOf('a list of names or a map', {
  list: z.array(text.transform((name): NetworkAttachment => ({ name, aliases: [] }))),
  map: attachments,
})

export const networkMode = text.transform((value, context) => {
  if (value.startsWith('service:')) {
    return refuse(
      context,
      'expected bridge, none, host or a network: a function has no sibling services',
    )
  }
  return /^(?:container:)?[a-zA-Z0-9][a-zA-Z0-9_.-]*$/.test(value)
    ? value
    : refuse(
        context,
        `expected bridge, none, host or the name of a network, got ${JSON.stringify(value)}`,
      )
})

/** `host:address` */
export const extraHosts = oneOf('a list of HOST=ADDRESS or a map', {
  list: z.array(
    text.transform((value, context) => {
      const match = /^([^=:\s]+)[=:]\s*(\S+)$/.exec(value)
      if (!match) return refuse(context, 'expected HOST=ADDRESS')
      return `${match[1]}:${match[2]!.replace(/^\[(.*)\]$/, '$1')}`
    }),
  ),
  map: recordOf(texts).transform((record) =>
    Object.entries(record).flatMap(([host, addresses]) =>
      addresses.map((each) => `${host}:${each}`),
    ),
  ),
})

const device = mapping({
  source: text,
  target: text.exactOptional(),
  permissions: text.exactOptional(),
})

const shortDevice = text.transform((value, context): z.output<typeof device> => {
  if (isDeviceName(value)) return { source: value }
  const [source = '', target, permissions, ...rest] = value.split(':')
  if (rest.length > 0) {
    return refuse(context, 'expected SOURCE:TARGET:PERMISSIONS, such as /dev/fuse')
  }
  return {
    source,
    ...(target !== undefined && { target }),
    ...(permissions !== undefined && { permissions }),
  }
})

const anyDevice = oneOf('a path or a map', { text: shortDevice, map: device })

export const devices = oneOf('a list of devices', {
  list: z.array(
    anyDevice.transform((value, context): DeviceMapping => {
      const { source, target = source, permissions = 'rwm' } = value
      if (!source.startsWith('/') && !isDeviceName(source)) {
        return refuse(
          context,
          `expected an absolute path such as /dev/fuse, or a name such as vendor.example/class=name, got ${JSON.stringify(source)}`,
        )
      }
      if (!/^[rwm]{1,3}$/.test(permissions)) {
        return refuse(
          context,
          `expected permissions of r, w and m, got ${JSON.stringify(permissions)}`,
        )
      }
      return { source: isDeviceName(source) ? source : absolutePath(source), target, permissions }
    }),
  ),
})

const limit = integer(-1, 'a whole number, -1 for unlimited')

export const ulimits = recordOf(
  oneOf('a whole number or a map of soft and hard', {
    text: limit.transform((value): Ulimit => ({ soft: value, hard: value })),
    map: mapping({ soft: limit, hard: limit }),
  }),
)

const deviceRequest = mapping({
  driver: text.exactOptional(),
  count: oneOf('a number or all', {
    text: scalar('a whole number of at least 1, or all', (value) => {
      const count = value === 'all' ? -1 : Number(value)
      return Number.isSafeInteger(count) && (count > 0 || value === 'all') ? count : undefined
    }),
  }).exactOptional(),
  device_ids: listOf(text, 'a list of texts').exactOptional(),
  capabilities: listOf(text, 'a list of texts').exactOptional(),
  options: pairs.exactOptional(),
}).transform((given, context): DeviceRequest => {
  if (given.count !== undefined && given.device_ids) {
    return refuse(context, 'expected count or device_ids, not both')
  }
  return {
    capabilities: given.capabilities ?? ['gpu'],
    options: given.options ?? {},
    ...(given.driver !== undefined && { driver: given.driver }),
    ...(given.device_ids ? { deviceIds: given.device_ids } : { count: given.count ?? -1 }),
  }
})

export const deviceRequests = listOf(deviceRequest, 'a list of devices')

export const gpus = oneOf('all or a list of devices', {
  text: choice('all').transform((): DeviceRequest[] => [
    { capabilities: ['gpu'], count: -1, options: {} },
  ]),
  list: z.array(deviceRequest),
})
