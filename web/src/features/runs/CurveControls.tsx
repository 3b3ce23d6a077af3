/** How curves are drawn, kept in the address: how smooth, on which scale, along what. */
import { useEffect, useRef, useState } from 'react'

import { usePlace } from '../../parts/place'
import { runs as text } from '../../text'
import type { Axis, Way } from './curve'

const MOST_AMOUNT = 0.999
const WAIT_MS = 150

export function useWay(): Way {
  const place = usePlace()
  const amount = Number(place.get('smooth'))
  return {
    amount: amount > 0 ? Math.min(amount, MOST_AMOUNT) : 0, // what is no number is none
    logarithmic: place.get('scale') === 'log',
    by: (place.get('by') || 'step') as Axis,
  }
}

function Smoothing({ amount }: Pick<Way, 'amount'>) {
  const place = usePlace()
  const [dragged, drag] = useState<number | null>(null)
  const timer = useRef<ReturnType<typeof setTimeout>>(undefined)
  useEffect(() => () => clearTimeout(timer.current), [])
  const shown = dragged ?? amount
  return (
    <label className="inline" title={text.curves.smoothHint}>
      <span>{text.curves.smooth}</span>
      <input
        type="range"
        min="0"
        max="0.99"
        step="0.01"
        value={shown}
        onChange={(event) => {
          const next = Number(event.target.value)
          drag(next)
          // Each amount is asked of the server: not those on the way.
          clearTimeout(timer.current)
          timer.current = setTimeout(() => {
            place.set({ smooth: next === 0 ? null : String(next) })
            drag(null)
          }, WAIT_MS)
        }}
      />
      <output className="num amount">{shown === 0 ? text.curves.off : shown}</output>
    </label>
  )
}

export function CurveControls({ amount, logarithmic, by }: Way) {
  const place = usePlace()
  return (
    <div className="row controls">
      <Smoothing amount={amount} />
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
