import { useEffect } from 'react'

import type { Schemas } from '../../api/client'
import { useGet } from '../../api/hooks'
import { Dialog } from '../../parts/Dialog'
import { number, percent } from '../../parts/format'
import { Icon } from '../../parts/Icon'
import { Facts, Face } from '../../parts/Page'
import { evaluation as text } from '../../text'
import { Answer, OutcomeMark } from './Items'
import { rule } from './words'

type Item = Schemas['ItemView']
const words = text.items

/** An output as it came, the answer that was found in it marked: the last place where it stands. */
export function Output({ output, found }: { output: string | null; found: string | null }) {
  if (output === null) return <p className="quiet">{words.noOutput}</p>
  if (output === '') return <p className="quiet">{words.emptyOutput}</p>
  const at = found ? output.lastIndexOf(found) : -1
  return (
    <pre className="output">
      {at < 0 || !found || found.length === output.length ? (
        output
      ) : (
        <>
          {output.slice(0, at)}
          <mark>{found}</mark>
          {output.slice(at + found.length)}
        </>
      )}
    </pre>
  )
}

function Sample({ of, several }: { of: Item; several: boolean }) {
  return (
    <section className="panel stack" aria-label={words.sampleOf(of.sample)}>
      <div className="row">
        {several && <h3>{words.sampleOf(of.sample)}</h3>}
        <OutcomeMark of={of} />
        {of.reason !== null && <span>{of.reason}</span>}
      </div>
      <Facts
        facts={[
          [words.found, <Answer key="found" said={of.extracted} none={words.nothingFound} />],
          [words.rule, of.rule === null ? text.none : `${of.rule}: ${rule(of.rule)}`],
          [words.score, percent(of.score, 0)],
          of.finish_reason !== null && [words.finish, of.finish_reason],
          of.prompt_tokens !== null && [words.promptTokens, number(of.prompt_tokens)],
          of.completion_tokens !== null && [words.answerTokens, number(of.completion_tokens)],
          of.latency_s !== null && [words.seconds, number(of.latency_s)],
        ]}
      />
      <div className="stack tight">
        <h3>{words.output}</h3>
        <Output output={of.output} found={of.extracted} />
      </div>
    </section>
  )
}

/** One item whole: what was asked, expected, said, found, and why that is right or wrong. */
export function ItemDialog({
  evaluation,
  id,
  rows,
  more,
  open,
  close,
}: {
  evaluation: string
  id: string
  /** The list that it was opened from: where the neighbours are. */
  rows: readonly Item[]
  more: boolean
  open: (id: string) => void
  close: () => void
}) {
  const found = useGet('/api/evaluations/{evaluation_id}/items', { at: { evaluation_id: evaluation }, query: { item: id, limit: 200 } }, { keep: true })
  const ids = [...new Set(rows.map((row) => row.id))]
  const at = ids.indexOf(id)
  const [before, after] = [ids[at - 1], at < 0 ? undefined : ids[at + 1]]
  const samples = found.data?.data ?? []
  const first = samples[0]
  useEffect(() => {
    const onKeyDown = (event: KeyboardEvent) => {
      const to = { ArrowLeft: before, ArrowRight: after }[event.key]
      if (to !== undefined) open(to)
    }
    window.addEventListener('keydown', onKeyDown)
    return () => window.removeEventListener('keydown', onKeyDown)
  }, [before, after, open])
  return (
    <Dialog title={words.title(id)} close={close} wide>
      <div className="dialog-body item-body">
        {at >= 0 && (
          <div className="row">
            <button type="button" className="ghost square turned" aria-label={words.previous} disabled={before === undefined} onClick={() => before !== undefined && open(before)}>
              <Icon name="right" size={16} />
            </button>
            <span className="num small quiet">{words.place(at + 1, ids.length, more)}</span>
            <button type="button" className="ghost square" aria-label={words.next} disabled={after === undefined} onClick={() => after !== undefined && open(after)}>
              <Icon name="right" size={16} />
            </button>
          </div>
        )}
        <Face
          loading={found.isPending}
          problem={found.error}
          again={() => void found.refetch()}
          empty={!found.isPending && samples.length === 0 && { title: words.gone(id), detail: null }}
        >
          {first && (
            <div className="stack">
              <div className="columns">
                <div className="stack tight">
                  <h3>{words.prompt}</h3>
                  <pre className="output">{first.prompt}</pre>
                </div>
                <div className="stack tight">
                  <h3>{words.expected}</h3>
                  {first.expected_answer === '' ? <p className="quiet">{words.nothingExpected}</p> : <pre className="output">{first.expected_answer}</pre>}
                  <Facts
                    facts={[
                      first.section !== null && [text.page.by.section, first.section],
                      first.category !== null && [text.page.by.category, first.category],
                      first.difficulty !== null && [text.page.by.difficulty, first.difficulty],
                      first.contamination !== null && [words.contamination, first.contamination],
                    ]}
                  />
                </div>
              </div>
              {samples.map((sample) => (
                <Sample key={sample.sample} of={sample} several={samples.length > 1} />
              ))}
            </div>
          )}
        </Face>
      </div>
    </Dialog>
  )
}
