import { useId, useState } from 'react'

import { send, type Schemas } from '../../api/client'
import { useAct } from '../../api/hooks'
import { CopyAs } from '../../parts/copy'
import { Confirm } from '../../parts/Dialog'
import { say } from '../../parts/notices'
import { ProblemBox } from '../../parts/Problem'
import { shell } from '../../parts/request'
import { evaluation as text } from '../../text'
import { fromTyped, type Metric } from './metric'
import { Pick } from './Pick'
import type { Evaluation } from './words'

type Direction = Schemas['BaselineView']['direction']

const words = text.gates
const METRICS = Object.keys(words.metrics) as Metric[]
const GOOD: Record<Metric, Direction> = { score: 'higher', completion_tokens: 'lower', latency_s: 'lower' }

/** Names an evaluation as what later ones are held against. */
export function SetBaseline({ evaluation, evaluations, close }: { evaluation: Evaluation | undefined; evaluations: readonly Evaluation[]; close: () => void }) {
  const [name, setName] = useState('')
  const [chosen, setChosen] = useState<string | null>(null)
  const [metric, setMetric] = useState<Metric>('score')
  const [direction, setDirection] = useState<Direction | null>(null)
  const [typed, setTyped] = useState('')
  const hint = useId()
  const id = chosen ?? evaluation?.id ?? ''
  const body: Schemas['BaselineRequest'] = {
    name: name.trim(),
    evaluation_id: id,
    metric,
    direction: direction ?? GOOD[metric],
    margin: fromTyped(typed, metric),
  }
  const act = useAct(
    () => send('post', '/api/regression/baselines', { body }),
    ['/api/regression/baselines', '/api/regression/check'],
    (made) => {
      say(words.setDone(made.name))
      close()
    },
  )
  return (
    <Confirm
      title={words.set}
      action={words.setDo}
      busy={act.isPending || body.name === '' || id === '' || (metric !== 'score' && body.margin === null)}
      problem={act.error && <ProblemBox problem={act.error} />}
      act={() => act.mutate(undefined)}
      close={close}
    >
      <label className="field">
        <span>{words.name}</span>
        <input value={name} maxLength={200} placeholder="sums-main" aria-describedby={hint} onChange={(event) => setName(event.target.value)} />
      </label>
      <p id={hint} className="quiet small">
        {words.nameHint}
      </p>
      <Pick label={words.evaluation} value={id} rows={evaluations} choose={setChosen} />
      <div className="fields">
        <label className="field">
          <span>{words.metric}</span>
          <select
            value={metric}
            onChange={(event) => {
              setMetric(event.target.value as Metric)
              setDirection(null)
              setTyped('')
            }}
          >
            {METRICS.map((each) => (
              <option key={each} value={each}>
                {words.metrics[each]}
              </option>
            ))}
          </select>
        </label>
        <label className="field">
          <span>{words.direction}</span>
          <select value={direction ?? GOOD[metric]} onChange={(event) => setDirection(event.target.value as Direction)}>
            <option value="higher">{words.directions.higher}</option>
            <option value="lower">{words.directions.lower}</option>
          </select>
        </label>
        <label className="field">
          <span>{words.marginHint[metric]}</span>
          <input type="number" min="0" step="any" value={typed} placeholder={metric === 'score' ? '2' : ''} onChange={(event) => setTyped(event.target.value)} />
        </label>
      </div>
      <CopyAs
        command={shell(
          'tunix-rt', 'baselines', 'set', body.name || 'NAME', '--evaluation', id || 'ID',
          ...(metric === 'score' ? [] : ['--metric', metric]),
          ...(direction === null ? [] : ['--direction', direction]),
          ...(typeof body.margin === 'number' ? ['--margin', String(body.margin)] : []),
        )}
        request={{ method: 'POST', address: '/api/regression/baselines', body }}
      />
    </Confirm>
  )
}
