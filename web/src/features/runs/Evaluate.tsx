import { useState } from 'react'
import { Link, useLocation } from 'wouter'

import { send, type Schemas } from '../../api/client'
import { useAct, useGet } from '../../api/hooks'
import { percent } from '../../parts/format'
import { Confirm } from '../../parts/Dialog'
import { say } from '../../parts/notices'
import { ProblemBox } from '../../parts/Problem'
import { pages } from '../../pages'
import { runs as text } from '../../text'

type Detail = Schemas['RunDetail']
const reachable = () => pages.some((page) => page.path === '/evaluations/:id')

/** The run's newest score, which leads to its evaluation. */
export function Score({ run }: { run: Detail }) {
  const newest = useGet('/api/tunix/runs/{run_id}/evaluation', { at: { run_id: run.run_id } }, { enabled: reachable() })
  if (!newest.data) return percent(run.score)
  return <Link href={`/evaluations/${newest.data.id}`}>{percent(run.score)}</Link>
}

/** Lets the run's model answer an eval set; the answer of the server is the evaluation itself. */
export function Evaluate({ run, close }: { run: Detail; close: () => void }) {
  const [, go] = useLocation()
  const evalSets = useGet('/api/eval-sets', { query: { limit: 200 } })
  const [chosen, setChosen] = useState(run.eval_set ?? '')
  const name = chosen || evalSets.data?.data[0]?.name
  const act = useAct(
    (eval_set: string) =>
      send('post', '/api/tunix/runs/{run_id}/evaluate', {
        at: { run_id: run.run_id },
        body: { eval_set } as Schemas['EvaluateRequest'],
      }),
    ['/api/tunix/runs', '/api/tunix/runs/{id}', '/api/tunix/runs/{run_id}/evaluation', '/api/evaluations', '/api/evaluations/queue', '/api/tunix/evaluations'],
    (made) => {
      say(text.evaluate.done)
      close()
      if (reachable() && 'id' in made && typeof made.id === 'string') go(`/evaluations/${made.id}`)
    },
  )
  return (
    <Confirm
      title={text.evaluate.title}
      action={act.isPending ? text.evaluate.busy : text.evaluate.act}
      busy={act.isPending || !name}
      problem={(act.error ?? evalSets.error) && <ProblemBox problem={act.error ?? evalSets.error} />}
      act={() => name && act.mutate(name)}
      close={close}
    >
      <p>{text.evaluate.detail}</p>
      {evalSets.data?.data.length === 0 ? (
        <p>{text.evaluate.none}</p>
      ) : (
        <label className="filter">
          <span>{text.evaluate.set}</span>
          <select value={name ?? ''} onChange={(event) => setChosen(event.target.value)}>
            {evalSets.data?.data.map((each) => (
              <option key={each.name}>{each.name}</option>
            ))}
          </select>
        </label>
      )}
    </Confirm>
  )
}
