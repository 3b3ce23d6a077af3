/** The curves of several runs on one chart for each figure. */
import { Suspense, useMemo } from 'react'

import { duration, shortId } from '../../parts/format'
import { Section } from '../../parts/Page'
import { lazy } from '../../parts/lazy'
import { Skeleton } from '../../parts/Skeleton'
import { runs as text } from '../../text'
import { DASHES } from './compare'
import { joined, lines, type Answer } from './curve'
import { CurveControls, useWay } from './CurveControls'
import { RunKey } from './RunKey'

const Chart = lazy(() => import('../../parts/Chart'))
Chart.preload() // while the points are asked for
const FIRST = ['eval_loss', 'loss']
const LEFT_OUT = new Set(['compile_seconds', 'epoch', 'eval_tokens', 'tokens'])

export interface Drawn extends Answer {
  id: string
}

export function CompareCurves({ runs }: { runs: readonly Drawn[] }) {
  const way = useWay()
  const { amount, logarithmic, by } = way
  const charts = useMemo(() => {
    const known = [...new Set(runs.flatMap((run) => Object.keys(run.series)))].filter((key) => !LEFT_OUT.has(key))
    const keys = [...FIRST.filter((key) => known.includes(key)), ...known.filter((key) => !FIRST.includes(key))]
    return keys.map((key) => {
      const drawn = runs.flatMap((run, at) =>
        lines(key, run, { amount, logarithmic, by }, { name: shortId(run.id), colour: at, dash: [...(DASHES[at] ?? [])] }),
      )
      return { key, data: joined(drawn), series: drawn.map((each) => each.series) }
    })
  }, [runs, by, logarithmic, amount])
  return (
    <Section
      title={text.compare.curves}
      beside={<CurveControls {...way} />}
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
