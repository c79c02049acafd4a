/** An absolute path without `.`, `..`, or doubled or trailing slashes. A relative one is taken from `folder`. */
export function absolutePath(path: string, folder = '/'): string {
  const parts: string[] = []
  for (const part of (path.startsWith('/') ? path : `${folder}/${path}`).split('/')) {
    if (part === '..') parts.pop()
    else if (part !== '' && part !== '.') parts.push(part)
  }
  return `/${parts.join('/')}`
}

/** Whether `text` is a name of the Container Device Interface, such as `vendor.example/class=name`. */
export function isDeviceName(text: string): boolean {
  return /^[A-Za-z][\w.-]*\/[A-Za-z][\w.-]*=\w[\w.:-]*$/.test(text)
}

/** Whether `text` names a secret or a config: a file that is never outside its folder. */
export function isFileName(text: string): boolean {
  return /^[a-zA-Z0-9](?:[a-zA-Z0-9._-]*[a-zA-Z0-9])?$/.test(text)
}

/** Both absolute and normalised. A folder counts as inside itself. */
export function isInside(path: string, folder: string): boolean {
  return path === folder || path.startsWith(folder === '/' ? '/' : `${folder}/`)
}

/** One spelling of an absolute path of the engine's host: `/var/run` is a link to `/run` almost everywhere. */
export function hostPath(path: string): string {
  return absolutePath(path).replace(/^\/var\/run(?=\/|$)/, '/run')
}
