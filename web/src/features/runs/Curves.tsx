import { Suspense, useEffect, useMemo, useRef } from 'react'

import { useGet } from '../../api/hooks'
import { duration, number } from '../../parts/format'
import { Icon } from '../../parts/Icon'
import { Face, Section } from '../../parts/Page'
import { lazy } from '../../parts/lazy'
import { Skeleton } from '../../parts/Skeleton'
import { runs as text } from '../../text'
import { DASHES } from './compare'
import { joined, lines, value, type Points } from './curve'
import { CurveControls, useWay } from './CurveControls'

const Chart = lazy(() => import('../../parts/Chart'))
Chart.preload() // while the points are asked for
const MAX_POINTS = 1200
const WAIT_MS = 2000

/** Figures that are no curve: that of an evaluation never changes, and few steps are compiled. */
const LEFT_OUT = new Set(['compile_seconds', 'eval_tokens'])

/** Charts: the losses together, everything else by itself. */
function groups(keys: string[]): string[][] {
  const losses: string[] = ['loss', 'eval_loss'].filter((key) => keys.includes(key))
  const rest = keys.filter((key) => !losses.includes(key) && !LEFT_OUT.has(key))
  return [...(losses.length ? [losses] : []), ...rest.map((key) => [key])]
}

export function Curves({ id, step, live }: { id: string; step: number | undefined; live: boolean }) {
  const way = useWay()
  const { amount, logarithmic, by } = way
  const query = { max_points: MAX_POINTS, ...(amount > 0 && { smooth: amount }) }
  const found = useGet('/api/tunix/runs/{id}/metrics', { at: { id }, query }, { keep: true })
  const answer = found.data
  const series = answer?.series

  // The stream tells of each step; the curves are asked for again then, now and then.
  const { refetch } = found
  const asked = useRef(0)
  useEffect(() => {
    if (!live || step === undefined) return
    if (asked.current === Infinity) return
    const wait = Math.max(0, asked.current + WAIT_MS - Date.now())
    const timer = setTimeout(() => {
      const began = Date.now()
      // A long series takes the server a while: the longer, the seldomer it is asked.
      asked.current = Infinity
      void refetch().finally(() => {
        asked.current = Date.now() + 5 * (Date.now() - began)
      })
    }, wait)
    return () => clearTimeout(timer)
  }, [live, step, refetch])
  const over = useRef(live)
  useEffect(() => {
    if (over.current && !live) void refetch()
    over.current = live
  }, [live, refetch])

  const charts = useMemo(() => {
    if (!answer) return []
    return groups(Object.keys(answer.series)).map((keys, at) => {
      const drawn = keys.flatMap((key, place) =>
        lines(key, answer, { amount, logarithmic, by }, { name: key, colour: at === 0 ? place : at + 1, dash: [...(DASHES[place] ?? [])] }),
      )
      const broken = keys.flatMap((key) => ((answer.series[key] ?? []) as Points).flatMap(([point, y]) => (typeof y === 'string' ? [{ key, point, y }] : [])))
      return { keys, data: joined(drawn), series: drawn.map((each) => each.series), broken }
    })
  }, [answer, by, logarithmic, amount])

  return (
    <Section
      title={text.curves.title}
      beside={<CurveControls {...way} />}
    >
      <Face loading={found.isPending} problem={found.error} again={() => void found.refetch()} skeleton={<Skeleton lines={2} tall />}>
        {charts.length === 0 ? (
          <p className="quiet panel">{text.curves.empty}</p>
        ) : (
          <div className="charts">
            {charts.map(({ keys, data, series: drawn, broken }, at) => (
              <figure key={keys.join()} className={at === 0 ? 'panel chart-first' : 'panel'}>
                <figcaption>{keys.join(', ')}</figcaption>
                {broken[0] && (
                  <p className="row small">
                    <Icon name="warning" size={14} /> {text.curves.broken(broken[0].key, broken[0].y, broken[0].point)}
                  </p>
                )}
                <Suspense fallback={<Skeleton lines={1} tall />}>
                  <Chart
                    data={data}
                    series={drawn}
                    logarithmic={logarithmic}
                    height={at === 0 ? 280 : 170}
                    xLabel={text.curves[by]}
                    xShow={by === 'time' ? duration : undefined}
                    label={text.curves.chart(keys.join(', '), data[0]?.length ?? 0)}
                  />
                </Suspense>
              </figure>
            ))}
          </div>
        )}
        {series && charts.length > 0 && (
          <details>
            <summary>{text.curves.table(text.curves.title)}</summary>
            <table className="plain narrow-table">
              <thead>
                <tr>
                  <th scope="col" />
                  <th scope="col" className="right">{text.curves.latest}</th>
                  <th scope="col" className="right">{text.curves.lowest}</th>
                  <th scope="col" className="right">{text.curves.highest}</th>
                </tr>
              </thead>
              <tbody>
                {Object.entries(series).map(([key, points]) => {
                  const values = points.map(([, y]) => value(y)).filter((y) => y !== null)
                  return (
                    <tr key={key}>
                      <th scope="row">{key}</th>
                      <td className="right">{number(points.at(-1)?.[1])}</td>
                      <td className="right">{values.length ? number(Math.min(...values)) : '–'}</td>
                      <td className="right">{values.length ? number(Math.max(...values)) : '–'}</td>
                    </tr>
                  )
                })}
              </tbody>
            </table>
          </details>
        )}
      </Face>
    </Section>
  )
}
