import { eventually } from '../docker/containers.ts'
import { docker } from '../docker/docker-client.ts'

/** Serves pages to containers, from one of the same engine. */
export interface PageServer extends AsyncDisposable {
  /** Its name in the networks that it joins. */
  readonly name: string
  /** Its address on the default bridge, which the engine's host reaches as well. */
  readonly address: string
  join(network: string): Promise<void>
}

/** Prints the page, with the host that it was asked of in place of HOST. */
const PAGE = `#!/bin/sh
printf 'Content-Type: text/html\\r\\n\\r\\n'
sed "s/HOST/$HTTP_HOST/g" /www/page.html
`
const MOVED = `#!/bin/sh
printf 'Status: 302 Found\\r\\nLocation: http://%s/cgi-bin/page\\r\\n\\r\\n' "$HTTP_HOST"
`
const SERVE = `mkdir -p /www/cgi-bin
printf %s "$PAGE" >/www/cgi-bin/page
printf %s "$MOVED" >/www/cgi-bin/moved
printf %s "$HTML" >/www/page.html
: >/www/empty
chmod +x /www/cgi-bin/*
exec httpd -f -h /www
`

/** Serves `html` at /cgi-bin/page, a redirect to it at /cgi-bin/moved, and nothing at /empty. */
export async function startPageServer(name: string, html: string): Promise<PageServer> {
  const variables = Object.entries({ PAGE, MOVED, HTML: html })
  const environment = variables.map(([key, value]) => `--env=${key}=${value}`)
  const options = ['--detach', '--network=bridge', '--name', name, ...environment]
  await docker('run', ...options, 'busybox:stable', 'sh', '-c', SERVE)
  const ask = () => docker('exec', name, 'wget', '-q', '-O', '-', 'http://127.0.0.1/empty')
  await eventually(
    () =>
      ask().then(
        () => true,
        () => false,
      ),
    (isReady) => isReady,
  )
  const address = await docker('inspect', '--format={{.NetworkSettings.IPAddress}}', name)
  return {
    name,
    address,
    async join(network) {
      await docker('network', 'connect', network, name)
    },
    async [Symbol.asyncDispose]() {
      await docker('rm', '--force', '--volumes', name)
    },
  }
}
