import { expect, test } from 'vitest'

import { asCurl, asPython, shell } from './request'

test('what a shell would take apart is quoted', () => {
  expect(shell('tunix-rt', 'runs', 'list', '-q', "it's a", null, false, 'x=1')).toBe(`tunix-rt runs list -q 'it'\\''s a' x=1`)
})

test('a request is told to curl and to Python', () => {
  const request = { method: 'POST', address: '/api/x?mode=async', body: { a: true, b: null, c: ['é', 1] } }
  expect(asCurl(request, 'http://h')).toBe(
    `curl -X POST 'http://h/api/x?mode=async' -H 'Content-Type: application/json' -d '{"a":true,"b":null,"c":["é",1]}'`,
  )
  expect(asPython(request, 'http://h')).toContain('json={"a": True, "b": None, "c": ["é", 1]}')
})
