import { useId, type ReactNode } from 'react'

import { say } from './notices'

/** A button for what cannot always be done: where it cannot, it stays reachable and says why. */
export function Act({ why, act, primary, children }: { why?: string | null | undefined | false; act: () => void; primary?: boolean; children: ReactNode }) {
  const id = useId()
  if (!why)
    return (
      <button type="button" className={primary ? 'primary' : undefined} onClick={act}>
        {children}
      </button>
    )
  return (
    <>
      <button type="button" aria-disabled="true" aria-describedby={id} title={why} onClick={() => say(why)}>
        {children}
      </button>
      <span id={id} className="unseen">
        {why}
      </span>
    </>
  )
}
