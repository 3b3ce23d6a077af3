/** How curves are drawn, kept in the address: how smooth, on which scale, along what. */
import { usePlace } from '../../parts/place'
import { runs as text } from '../../text'
import { summed, value, type Axis, type Points } from './curve'

export interface Way {
  amount: number
  logarithmic: boolean
  by: Axis
}

const USUAL_AMOUNT = '0.3'

export function useWay(): Way {
  const place = usePlace()
  return { amount: Number(place.get('smooth') || USUAL_AMOUNT), logarithmic: place.get('scale') === 'log', by: (place.get('by') || 'step') as Axis }
}

/** Points of a figure along the chosen axis; a logarithm has no place for what is not above 0. */
export function along(points: Points, series: Record<string, Points>, { by, logarithmic }: Way) {
  const source = by === 'time' ? series['step_seconds'] : by === 'tokens' ? series['tokens'] : undefined
  const at = by === 'step' ? (step: number) => step : summed(source ?? [])
  const steps = points.map(([step]) => step)
  return {
    steps,
    xs: steps.map((step) => at(step) ?? step),
    ys: points.map(([, y]) => value(y)).map((y) => (logarithmic && y !== null && y <= 0 ? null : y)),
  }
}

export function CurveControls({ amount, logarithmic, by }: Way) {
  const place = usePlace()
  return (
    <div className="row controls">
      <label className="inline">
        <span>{text.curves.smooth}</span>
        <input
          type="range"
          min="0"
          max="1"
          step="0.05"
          value={amount}
          onChange={(event) => place.set({ smooth: event.target.value === USUAL_AMOUNT ? null : event.target.value })}
        />
      </label>
      <label className="inline">
        <span>{text.curves.scale}</span>
        <select value={logarithmic ? 'log' : ''} onChange={(event) => place.set({ scale: event.target.value })}>
          <option value="">{text.curves.linear}</option>
          <option value="log">{text.curves.log}</option>
        </select>
      </label>
      <label className="inline">
        <span>{text.curves.by}</span>
        <select value={by} onChange={(event) => place.set({ by: event.target.value === 'step' ? null : event.target.value })}>
          <option value="step">{text.curves.step}</option>
          <option value="time">{text.curves.time}</option>
          <option value="tokens">{text.curves.tokens}</option>
        </select>
      </label>
    </div>
  )
}
