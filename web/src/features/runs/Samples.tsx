/** The tab of a run with what it answered at its evaluations: at one step, against another, or all of them. */
import { useEffect, useMemo, useRef } from 'react'
import { Link } from 'wouter'

import { type Schemas } from '../../api/client'
import { useList } from '../../api/hooks'
import { Badge } from '../../parts/Badge'
import { words } from '../../parts/diff'
import { number } from '../../parts/format'
import { Face, Section } from '../../parts/Page'
import { usePlace } from '../../parts/place'
import { Words } from '../../parts/Words'
import { runs as text } from '../../text'
import './runs.css'
import { before, chosen, timelines, type Sample, type Timeline } from './samples'
import { isOver } from './status'

const said = text.samples

function Marks({ of }: { of: Sample }) {
  return of.finish_reason === 'length' ? <Badge tone="warn">{said.cutOff}</Badge> : null
}

/** An answer; beside the one that it is held against, with the words that only one of them has marked. */
function Answer({ sample, other }: { sample: Sample | undefined; other: Sample | undefined }) {
  const spans = useMemo(() => words(other?.output ?? '', sample?.output ?? ''), [sample, other])
  if (!sample) return <p className="quiet">{said.missing}</p>
  const now = (
    <div className="stack tight">
      <h4 className="row small">
        <span className="num">{said.step(sample.step)}</span> <Marks of={sample} />
        {other && other.output === sample.output && <Badge tone="off">{said.same(other.step)}</Badge>}
      </h4>
      {sample.output === '' ? <p className="quiet">{said.empty}</p> : other ? <Words spans={spans} side="other" /> : <pre className="words">{sample.output}</pre>}
    </div>
  )
  if (!other || other.output === sample.output) return now
  return (
    <div className="sides">
      <div className="stack tight">
        <h4 className="row small">
          <span className="num">{said.step(other.step)}</span> <Marks of={other} />
        </h4>
        {other.output === '' ? <p className="quiet">{said.empty}</p> : <Words spans={spans} side="base" />}
      </div>
      {now}
    </div>
  )
}

function All({ of }: { of: Timeline }) {
  const steps = [...of.at.keys()].sort((a, b) => a - b)
  return (
    <ol className="stack sample-steps">
      {steps.toReversed().map((step) => {
        const earlier = before(steps, step)
        return (
          <li key={step}>
            <Answer sample={of.at.get(step)} other={earlier === undefined ? undefined : of.at.get(earlier)} />
          </li>
        )
      })}
    </ol>
  )
}

export function Samples({ run }: { run: Schemas['RunDetail'] }) {
  const place = usePlace()
  const found = useList('/api/tunix/runs/{id}/samples', { at: { id: run.run_id }, limit: 200 })
  const { prompts, steps } = useMemo(() => timelines(found.rows), [found.rows])

  // An evaluation brings new ones: then, and at the end, they are asked for again.
  const every = Number(run.config['eval_every_steps'] ?? 100)
  const evaluations = `${Math.floor((run.progress?.step ?? 0) / every)} ${isOver(run.status)}`
  const { again } = found
  const asked = useRef(evaluations)
  useEffect(() => {
    if (asked.current === evaluations) return
    asked.current = evaluations
    const timer = setTimeout(again, 1000) // answering takes a moment
    return () => clearTimeout(timer)
  }, [evaluations, again])

  const all = place.get('view') === 'all'
  const step = chosen(steps, place.get('step'))
  const against = place.get('against')
  const other = against === 'none' ? undefined : against === '' ? before(steps, step) : Number(against)
  const wanted = Number(run.config['samples'] ?? 0)
  const last = steps.at(-1)
  return (
    <Section
      title={said.title}
      beside={
        steps.length > 1 && (
          <div className="row controls">
            <label className="inline">
              <span>{said.view}</span>
              <select value={all ? 'all' : ''} onChange={(event) => place.set({ view: event.target.value })}>
                <option value="">{said.one}</option>
                <option value="all">{said.all}</option>
              </select>
            </label>
            {!all && (
              <>
                <label className="inline">
                  <span>{said.at}</span>
                  <input
                    type="range"
                    min="0"
                    max={steps.length - 1}
                    value={step === undefined ? 0 : steps.indexOf(step)}
                    aria-valuetext={step === undefined ? undefined : said.step(step)}
                    onChange={(event) => {
                      const to = steps[Number(event.target.value)]
                      place.set({ step: to === undefined || to === last ? null : String(to) })
                    }}
                  />
                  <strong className="num">{number(step)}</strong>
                </label>
                <label className="inline">
                  <span>{said.against}</span>
                  <select value={against} onChange={(event) => place.set({ against: event.target.value })}>
                    <option value="">{said.before}</option>
                    <option value="none">{said.nothing}</option>
                    {steps.toReversed().map((each) => (
                      <option key={each} value={each}>
                        {said.step(each)}
                      </option>
                    ))}
                  </select>
                </label>
              </>
            )}
          </div>
        )
      }
    >
      <Face
        loading={found.isLoading}
        problem={found.problem}
        again={found.again}
        empty={
          found.rows.length === 0 &&
          (wanted > 0
            ? { title: said.none.title, detail: isOver(run.status) ? said.none.over : said.none.soon(every) }
            : {
                title: said.none.title,
                detail: said.none.detail,
                action: (
                  <Link className="button" href={`/runs/new?from=${run.run_id}`}>
                    {text.form.like}
                  </Link>
                ),
              })
        }
      >
        {prompts.map((each) => (
          <article key={each.prompt} className="panel stack sample" aria-label={said.prompt}>
            <div>
              <h3 className="quiet small">{said.prompt}</h3>
              <pre className="words">{each.prompt}</pre>
            </div>
            {all ? <All of={each} /> : <Answer sample={step === undefined ? undefined : each.at.get(step)} other={other === undefined || other === step ? undefined : each.at.get(other)} />}
          </article>
        ))}
        {prompts.length > 0 && <p className="quiet small">{said.legend}</p>}
        {found.hasMore && (
          <p>
            <button type="button" disabled={found.isFetchingMore} onClick={found.more}>
              {said.earlier}
            </button>
          </p>
        )}
      </Face>
    </Section>
  )
}
