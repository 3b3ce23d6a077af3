import { render, screen } from '@testing-library/react'
import { Suspense } from 'react'
import { expect, test } from 'vitest'

import { lazy } from './lazy'

const load = () => Promise.resolve({ default: ({ name }: { name: string }) => <p>{name}</p> })

test('what was fetched before is shown at once, and everything else as soon as it is there', async () => {
  const Later = lazy(load)
  const Before = lazy(load)
  Before.preload()
  await Promise.resolve()
  await Promise.resolve()
  render(
    <Suspense fallback="…">
      <Before name="before" />
    </Suspense>,
  )
  expect(screen.getByText('before')).toBeTruthy()
  render(
    <Suspense fallback="waits">
      <Later name="later" />
    </Suspense>,
  )
  expect(screen.getByText('waits')).toBeTruthy()
  expect(await screen.findByText('later')).toBeTruthy()
})
