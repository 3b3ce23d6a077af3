import { shortId } from '../../parts/format'
import { DASHES, MOST } from './compare'

/** How a run is drawn, and its name: a line of its own colour and its own dashes. */
export function RunKey({ place, name }: { place: number; name: string }) {
  return (
    <span className="run-key">
      <svg width="28" height="10" viewBox="0 0 28 10" aria-hidden="true">
        <line x1="0" y1="5" x2="28" y2="5" stroke={`var(--series-${place % MOST})`} strokeWidth="2.5" strokeDasharray={(DASHES[place % MOST] ?? []).join(' ')} />
      </svg>
      <span className="cut mono" title={name}>
        {shortId(name)}
      </span>
    </span>
  )
}
