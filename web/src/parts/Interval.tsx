import { percent } from './format'

/** A value with its interval on a scale; `pale` where nothing is established. */
export function Interval({
  value,
  low,
  high,
  from = 0,
  to = 1,
  mark,
  pale,
  show = percent,
}: {
  value: number | null
  low: number | null
  high: number | null
  from?: number
  to?: number
  /** A line to hold it against: chance, no difference. */
  mark?: number
  pale?: boolean
  show?: (value: number) => string
}) {
  const at = (x: number) => Math.min(100, Math.max(0, ((x - from) / (to - from)) * 100))
  const words = value === null ? '–' : low === null || high === null ? show(value) : `${show(value)} (${show(low)} – ${show(high)})`
  return (
    <span className={pale ? 'interval pale' : 'interval'}>
      <svg width="120" height="16" viewBox="0 0 100 16" preserveAspectRatio="none" role="img" aria-label={words}>
        <title>{words}</title>
        <rect x="0" y="7.500" width="100" height="1" className="scale" />
        {mark !== undefined && <rect x={at(mark) - 0.4} y="1" width="0.8" height="14" className="mark" />}
        {low !== null && high !== null && <rect x={at(low)} y="5" width={Math.max(0.8, at(high) - at(low))} height="6" rx="1" className="range" />}
        {value !== null && <rect x={at(value) - 0.9} y="2" width="1.8" height="12" className="point" />}
      </svg>
    </span>
  )
}

/** How far something is, 0 to 1. */
export function Progress({ share, label }: { share: number; label: string }) {
  return <progress value={share} max={1} aria-label={label} title={label} />
}
