/** For every test file: a test that prints an error or a warning fails, React's act() warnings included.
 *
 * A test that expects one says so, and which: `const error = vi.spyOn(console, 'error').mockImplementation(() => undefined)`,
 * then `expect(error).toHaveBeenCalledWith(...)`.
 */
import { format } from 'node:util'

import { cleanup, configure } from '@testing-library/react'
import { afterAll, afterEach } from 'vitest'

// Testing Library sets this only where the hooks of the tests are global.
Object.assign(globalThis, { IS_REACT_ACT_ENVIRONMENT: true })

// Waiting ends when what is waited for is there; on a busy machine that takes more than a second.
configure({ asyncUtilTimeout: 60_000 })

const printed: string[] = []
for (const kind of ['error', 'warn'] as const) {
  console[kind] = (...values: unknown[]) => void printed.push(`console.${kind}: ${format(...values)}`)
}

function fail() {
  const messages = printed.splice(0)
  if (messages.length > 0) throw new Error(`Printed by the test:\n${messages.join('\n')}`)
}

afterEach(() => {
  cleanup()
  fail()
})
afterAll(fail)
