import { enableCompileCache } from 'node:module'

// What Node has compiled is kept for the next start, which then needs no time and no memory for TypeScript's compiler.
// JavaScript, because the compiler would be loaded for this file otherwise.
enableCompileCache()
await import('./main.ts')
