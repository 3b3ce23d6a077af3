/** The curves of several runs on one chart for each figure. */
import { Suspense, useMemo } from 'react'

import { duration, shortId } from '../../parts/format'
import { Section } from '../../parts/Page'
import { lazy } from '../../parts/lazy'
import { usePlace } from '../../parts/place'
import { Skeleton } from '../../parts/Skeleton'
import { runs as text } from '../../text'
import { DASHES } from './compare'
import { joined, smoothed, summed, value, type Axis, type Points } from './curve'
import { RunKey } from './RunKey'

const Chart = lazy(() => import('../../parts/Chart'))
Chart.preload() // while the points are asked for
const FIRST = ['eval_loss', 'loss']
const LEFT_OUT = new Set(['epoch', 'eval_tokens', 'tokens'])

export interface Drawn {
  id: string
  series: Record<string, Points>
}

export function CompareCurves({ runs }: { runs: readonly Drawn[] }) {
  const place = usePlace()
  const amount = Number(place.get('smooth') || '0.3')
  const logarithmic = place.get('scale') === 'log'
  const by = (place.get('by') || 'step') as Axis
  const charts = useMemo(() => {
    const known = [...new Set(runs.flatMap((run) => Object.keys(run.series)))].filter((key) => !LEFT_OUT.has(key))
    const keys = [...FIRST.filter((key) => known.includes(key)), ...known.filter((key) => !FIRST.includes(key))]
    return keys.map((key) => {
      const drawn = runs.flatMap((run, at) => {
        const points = run.series[key] ?? []
        if (points.length === 0) return []
        const source = by === 'time' ? run.series['step_seconds'] : by === 'tokens' ? run.series['tokens'] : undefined
        const along = by === 'step' ? (step: number) => step : summed(source ?? [])
        const steps = points.map(([step]) => step)
        const ys = points.map(([, y]) => value(y)).map((y) => (logarithmic && y !== null && y <= 0 ? null : y))
        const calm = key.startsWith('eval_') || key === 'learning_rate' || points.length < 20
        return [
          {
            xs: steps.map((step) => along(step) ?? step),
            ys: calm ? ys : smoothed(steps, ys, amount),
            series: { name: shortId(run.id), colour: at, dash: [...(DASHES[at] ?? [])] },
          },
        ]
      })
      return { key, data: joined(drawn), series: drawn.map((each) => each.series) }
    })
  }, [runs, by, logarithmic, amount])
  return (
    <Section
      title={text.compare.curves}
      beside={
        <div className="row controls">
          <label className="inline">
            <span>{text.curves.smooth}</span>
            <input
              type="range"
              min="0"
              max="1"
              step="0.05"
              value={amount}
              onChange={(event) => place.set({ smooth: event.target.value === '0.3' ? null : event.target.value })}
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
      }
    >
      {charts.length === 0 ? (
        <p className="quiet panel">{text.compare.noCurves}</p>
      ) : (
        <>
          <div className="row">
            {runs.map((run, at) => (
              <RunKey key={run.id} place={at} name={run.id} />
            ))}
          </div>
          <div className="charts">
            {charts.map(({ key, data, series }, at) => (
              <figure key={key} className={at === 0 ? 'panel chart-first' : 'panel'}>
                <figcaption>{key}</figcaption>
                <Suspense fallback={<Skeleton lines={1} tall />}>
                  <Chart
                    data={data}
                    series={series}
                    logarithmic={logarithmic}
                    height={at === 0 ? 280 : 170}
                    xLabel={text.curves[by]}
                    xShow={by === 'time' ? duration : undefined}
                    label={text.curves.chart(key, data[0]?.length ?? 0)}
                  />
                </Suspense>
              </figure>
            ))}
          </div>
        </>
      )}
    </Section>
  )
}
