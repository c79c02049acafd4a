import { inject } from 'vitest'

// Before a test's file is loaded: its clients of the engine are made there.
process.env['DOCKER_HOST'] = inject('dockerHost')
