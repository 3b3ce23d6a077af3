import type { ReactNode } from 'react'

export type Tone = 'good' | 'bad' | 'busy' | 'wait' | 'off' | 'warn'

// Each tone has a shape of its own, so that nothing is told by colour alone.
const SHAPES: Record<Tone, ReactNode> = {
  good: <path d="M2.500 6.500 5 9l4.500-6" fill="none" strokeWidth="2" stroke="currentColor" />,
  bad: <path d="M3 3l6 6M9 3 3 9" fill="none" strokeWidth="2" stroke="currentColor" />,
  busy: <path d="M3.500 2v8l6.500-4z" fill="currentColor" />,
  wait: <circle cx="6" cy="6" r="3.700" fill="none" strokeWidth="2" stroke="currentColor" />,
  off: <path d="M2.500 6h7" fill="none" strokeWidth="2.500" stroke="currentColor" />,
  warn: <path d="M6 1.500 11 10.500H1z" fill="currentColor" />,
}

/** A state in a word, a shape and a colour. */
export function Badge({ tone, children, title }: { tone: Tone; children: ReactNode; title?: string | undefined }) {
  return (
    <span className={`badge ${tone}`} title={title}>
      <svg width="12" height="12" viewBox="0 0 12 12" aria-hidden="true">
        {SHAPES[tone]}
      </svg>
      {children}
    </span>
  )
}
