/** uPlot behind a React component; loaded only by pages that draw. */
import { useEffect, useRef } from 'react'
import UPlot from 'uplot'
import 'uplot/dist/uPlot.min.css'

import { number } from './format'

export interface Series {
  name: string
  /** One of the page's colours for series, 0 to 7. */
  colour: number
  dash?: number[]
  /** Not measured: drawn thin and dotted over the bold line of what was. */
  smoothed?: boolean
}

interface Props {
  /** First the places on x, then the values of each series. */
  data: (number | null)[][]
  series: Series[]
  xLabel: string
  xShow?: ((x: number) => string) | undefined
  logarithmic?: boolean
  height?: number
  /** What it shows, in words. */
  label: string
}

function css(name: string): string {
  return getComputedStyle(document.documentElement).getPropertyValue(name).trim()
}

const DOTS = [2, 2]
const SERIES = Array.from({ length: 8 }, (_, place) => place)
const EXPRESSIONS: Record<string, string> = {
  ...Object.fromEntries(['--text', '--quiet', '--line', ...SERIES.map((place) => `--series-${place}`)].map((name) => [name, `var(${name})`])),
  ...Object.fromEntries(SERIES.map((place) => [`--smoothed-${place}`, `color-mix(in srgb, var(--series-${place}) 30%, var(--text))`])),
}

// A canvas does not know light-dark(): the browser resolves it on an element.
function colours(): (name: string) => string {
  const probe = document.createElement('i')
  document.body.append(probe)
  const found = new Map<string, string>()
  for (const [name, expression] of Object.entries(EXPRESSIONS)) {
    probe.style.color = expression
    found.set(name, getComputedStyle(probe).color)
  }
  probe.remove()
  return (name) => found.get(name) ?? css(name)
}

export default function Chart({ data, series, xLabel, xShow, logarithmic, height = 260, label }: Props) {
  const holder = useRef<HTMLDivElement>(null)
  const plot = useRef<UPlot | null>(null)
  const latest = useRef(data)
  const shape = JSON.stringify([series, xLabel, logarithmic, height])

  useEffect(() => {
    const box = holder.current
    if (!box) return
    const make = () => {
      plot.current?.destroy()
      const colour = colours()
      const axis = { stroke: colour('--quiet'), grid: { stroke: colour('--line'), width: 1 }, ticks: { stroke: colour('--line'), width: 1 }, font: '11px system-ui' }
      plot.current = new UPlot(
        {
          width: Math.max(200, box.clientWidth),
          height,
          scales: { x: { time: false }, y: logarithmic ? { distr: 3 } : {} },
          axes: [
            { ...axis, label: xLabel, labelFont: '11px system-ui', labelSize: 18, size: 34, ...(xShow ? { values: (_, ticks) => ticks.map(xShow) } : {}) },
            { ...axis, size: 56, values: (_, ticks) => ticks.map((tick) => (tick === null ? '' : number(tick))) },
          ],
          series: [
            { label: xLabel, value: (_, x) => (x === null ? '–' : xShow ? xShow(x) : number(x)) },
            ...series.map((each) => ({
              label: each.name,
              stroke: colour(`--${each.smoothed ? 'smoothed' : 'series'}-${each.colour % 8}`),
              width: each.smoothed ? 1.2 : 1.8,
              spanGaps: true,
              points: { show: false },
              ...(each.smoothed ? { dash: DOTS } : each.dash ? { dash: each.dash } : {}),
              value: (_: UPlot, y: number | null) => number(y),
            })),
          ],
          cursor: { drag: { x: true, y: false }, points: { size: 6 } },
          legend: { live: true },
        },
        latest.current as UPlot.AlignedData,
        box,
      )
    }
    make()
    const sized = new ResizeObserver(() => plot.current?.setSize({ width: Math.max(200, box.clientWidth), height }))
    sized.observe(box)
    const dark = matchMedia('(prefers-color-scheme: dark)')
    dark.addEventListener('change', make)
    window.addEventListener('theme', make)
    return () => {
      sized.disconnect()
      dark.removeEventListener('change', make)
      window.removeEventListener('theme', make)
      plot.current?.destroy()
      plot.current = null
    }
    // The series are compared by what they say, not by identity.
    // eslint-disable-next-line react-hooks/exhaustive-deps
  }, [shape])

  useEffect(() => {
    latest.current = data
    plot.current?.setData(data as UPlot.AlignedData)
  }, [data])

  return <div ref={holder} className="chart" role="img" aria-label={label} style={{ minHeight: height }} />
}
