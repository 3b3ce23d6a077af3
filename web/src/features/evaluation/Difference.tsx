/** A difference with its interval on an axis around nothing: where it lies is the verdict. */
export interface Drawn {
  name: string
  title?: string
  ci: readonly [number, number] | null
}

interface Props {
  value: number | null
  interval: Drawn
  /** What does not matter: a band around nothing, or the one limit of a gate. */
  band?: number
  limit?: number
  limitName?: string
  zeroName: string
  show: (value: number) => string
  none: string
}

/** Half the width of the axis: all that is drawn, with room. */
export function reach(values: readonly (number | null | undefined)[]): number {
  const most = Math.max(0, ...values.map((value) => Math.abs(value ?? 0)))
  return most === 0 ? 1 : most * 1.15
}

export function Difference({ value, interval: one, band, limit, limitName, zeroName, show, none }: Props) {
  const half = reach([value, band, limit, ...(one.ci ?? [])])
  const at = (x: number) => `${50 + (x / half) * 50}%`
  const words = one.ci ? `${show(one.ci[0])} … ${show(one.ci[1])}` : none
  return (
    <div className="difference">
      <div className="difference-row">
        <span className="small" title={one.title}>
          {one.name}
        </span>
        <span className="track" role="img" aria-label={`${one.name}: ${value === null ? none : show(value)}, ${words}`}>
          {band !== undefined && band > 0 && <span className="band" style={{ left: at(-band), right: `calc(100% - ${at(band)})` }} />}
          <span className="axis" />
          <span className="zero" style={{ left: '50%' }} />
          {limit !== undefined && <span className="limit-line" style={{ left: at(limit) }} />}
          {one.ci && <span className="reach" style={{ left: at(one.ci[0]), right: `calc(100% - ${at(one.ci[1])})` }} />}
          {value !== null && <span className="here" style={{ left: at(value) }} />}
        </span>
        <span className="small num">{words}</span>
      </div>
      <div className="difference-row small quiet" aria-hidden="true">
        <span />
        <span className="difference-ends">
          <span>{show(-half)}</span>
          <span>{zeroName}</span>
          <span>{show(half)}</span>
        </span>
        <span>{limitName}</span>
      </div>
    </div>
  )
}
